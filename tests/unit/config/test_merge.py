"""Several sources as one."""

import pytest

from llama_swap.config import ConfigError
from llama_swap.config.merge import read_sources
from llama_swap.config.tree import plain_data


@pytest.fixture
def merged(tmp_path):
    """Merge texts as files 0.yaml, 1.yaml ...; gives plain values."""

    def values(raw):
        if isinstance(raw, dict):
            return {key: values(value) for key, value in raw.items()}
        return [values(item) for item in raw] if isinstance(raw, list) else raw.value

    def merge(*texts):
        files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        return values(plain_data(read_sources(files)))

    return merge


@pytest.fixture
def conflicts(merged):
    """File name, line, key and rule of every problem of a merge."""

    def problems(*texts):
        with pytest.raises(ConfigError) as caught:
            merged(*texts)
        return [(p.file.name, p.line, p.key, p.rule) for p in caught.value.problems]

    return problems


def test_merging(merged):
    """Mappings merge, lists join, null yields, equal scalars agree, in any depth."""
    assert merged(
        "a: {x: 1, l: [1]}\nn: null\nm: {k: 1}\nequal: 5",
        "a: {y: 2, l: [2]}\nn: 3\nm: null\nequal: 5",
        "",
        "# nothing",
    ) == {"a": {"x": 1, "l": [1, 2], "y": 2}, "n": 3, "m": {"k": 1}, "equal": 5}


def test_conflicts_are_all_reported(conflicts):
    """A scalar with two values and a value of two kinds are errors at the later one."""
    found = conflicts("logLevel: info\napiKeys: [a]\nr: {s: 1}", "\nlogLevel: debug\napiKeys: a", "r: {s: true}")
    assert [row[:3] for row in found] == [("1.yaml", 2, "logLevel"), ("1.yaml", 3, "apiKeys"), ("2.yaml", 1, "r.s")]
    assert all("conflict" in row[3] for row in found)
    assert "0.yaml:1" in found[0][3]
    assert "incompatible" in found[1][3]


@pytest.mark.parametrize("section", ["models", "groups", "matrix", "peers", "selectors", "profiles"])
def test_one_name_in_two_files(conflicts, section):
    """A model, group and so on may stand in one source only, even if it is the same."""
    text = f"{section}:\n  twin: {{}}\n"
    ((file, line, key, rule),) = conflicts(text, text)
    assert (file, line, key) == ("1.yaml", 2, f"{section}.twin")
    assert f'duplicate {section} "twin"' in rule


def test_problems_of_all_sources(conflicts, tmp_path):
    """What is wrong with one source does not hide what is wrong with the next."""
    assert [row[:2] for row in conflicts("a: 1\na: 2", "- list", "b: [")] == [
        ("0.yaml", 2),
        ("1.yaml", 1),
        ("2.yaml", 1),
    ]
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9")
    with pytest.raises(ConfigError) as caught:
        read_sources([tmp_path / "missing.yaml", tmp_path / "latin.yaml"])
    assert [(p.file.name, p.line) for p in caught.value.problems] == [("missing.yaml", 0), ("latin.yaml", 2)]


def test_keys_are_not_shown(merged):
    """Two sources that disagree about a secret do not print it."""
    with pytest.raises(ConfigError) as caught:
        merged("models: {m: {env: {A: sesame}}}", "apiKeys: {a: sesame}\n", "apiKeys: {a: other}")
    assert "sesame" not in str(caught.value)
    assert "other" not in str(caught.value)


def test_every_kind_of_name_in_files_of_its_own(load):
    """Models, sets, selectors, profiles and peers of several files end up in one configuration."""
    config = load(
        "models: {a: {cmd: 'srv ${PORT}'}}\nrouting: {router: {use: matrix}}",
        "models: {b: {cmd: 'srv ${PORT} b'}}\nrouting: {router: {settings: {matrix: {sets: {s: a & b}}}}}",
        "selectors: {s: {strategy: spillover, targets: [a, b, x]}}\nprofiles: {w: {pins: {chat: s}}}",
        "peers: {far: {proxy: 'http://h', models: [x]}}\nstore: {maxRows: 3}\nui: {activity: {session_id: [A]}}",
        "store: {maxAgeDays: 4}\nui: {activity: {session_id: [B]}}\nprofiles: {home: {pins: {chat: a}}}",
    )
    assert list(config.models) == ["a", "b"]
    assert list(config.scheduler.matrix.sets) == ["s"]
    assert config.selectors["s"].targets == ("a", "b", "x")
    assert list(config.profiles) == ["w", "home"]
    assert config.find_peer_model("x").peer.id == "far"
    assert (config.store_max_rows, config.store_max_age_days, config.session_id_headers) == (3, 4, ("A", "B"))
