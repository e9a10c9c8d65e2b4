"""API keys that stand in files."""

import pytest

from llama_swap.config import PortBook, json_schema, load_config


@pytest.fixture
def keys(tmp_path):
    """A file with two keys and what else such files have."""
    path = tmp_path / "keys"
    path.write_text("# for alice\nsk-alice\n\n  sk-bob \r\n")
    return path


@pytest.mark.parametrize("where", ["keys", "./keys", "{folder}/keys"])
def test_file(load, keys, where):
    """Each line is a key; a relative path starts at the file that has it, and other entries stay beside it."""
    entry = where.format(folder=keys.parent)
    assert load(f"apiKeys: [one, {{file: '{entry}'}}, one]").api_keys == ("one", "sk-alice", "sk-bob")


def test_credential(load, keys):
    """The directory of the unit's credentials is known from systemd."""
    config = load("apiKeys: [{credential: keys}]", env={"CREDENTIALS_DIRECTORY": str(keys.parent)})
    assert config.api_keys == ("sk-alice", "sk-bob")


def test_relative_to_its_own_source(tmp_path, keys):
    """In a configuration of several files each entry looks beside its own."""
    first = tmp_path / "config.yaml"
    first.write_text("models: {}")
    (tmp_path / "more").mkdir()
    second = tmp_path / "more" / "keys.yaml"
    second.write_text("apiKeys: [{file: secret}]")
    (tmp_path / "more" / "secret").write_text("sk-carol")
    config = load_config([first, second], env={}, ports=PortBook(lambda _port: True))
    assert config.api_keys == ("sk-carol",)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{file: gone}", "gone cannot be read: No such file"),
        ("{file: empty}", "there is no key in "),
        ("{file: binary}", "is not text"),
        ("{file: huge}", "is too large"),
        ("{file: spaces}", "api key cannot contain spaces"),
        ("{credential: keys}", "CREDENTIALS_DIRECTORY is not set"),
        ("{credential: ../keys}", "the name of a credential has no `/`"),
        ("{file: ' '}", "`file` must not be empty"),
        ("{}", "either `file` or `credential`"),
        ("{file: keys, credential: keys}", "either `file` or `credential`"),
        ("{path: keys}", "either `file` or `credential`"),
        ("[keys]", "must be text or a mapping, not a list"),
        ("{file: [keys]}", "must be text, not a list"),
    ],
)
def test_entries_that_are_none(refused, tmp_path, entry, words):
    """A source without a usable key is refused: an empty file must not open the service to everybody."""
    for name, content in [
        ("empty", b"\n# none\n"),
        ("binary", b"\xff\n"),
        ("huge", b"k\n" * (1 << 20)),
        ("spaces", b"a b"),
    ]:
        (tmp_path / name).write_bytes(content)
    problems = refused(f"apiKeys: [ok, {entry}]")
    assert set(problems) == {"apiKeys[1]"}
    assert words in problems["apiKeys[1]"].rule


def test_at_build_time(load):
    """Where the secrets are not, their absence is a warning."""
    config = load("apiKeys: [{credential: keys}, {file: /nowhere/keys}]", allow_missing_env=True)
    assert config.api_keys == ()
    assert [problem.key for problem in config.warnings] == ["apiKeys[0]", "apiKeys[1]"]


def test_no_key_is_quoted(refused, tmp_path):
    """No problem shows what is in the file."""
    (tmp_path / "keys").write_text("sk-secret with space\n")
    assert "secret" not in str(refused("apiKeys: [{file: keys}]")["apiKeys[0]"])


def test_schema():
    """Editors offer all three forms."""
    kinds = json_schema()["properties"]["apiKeys"]["items"]["anyOf"]
    assert set(kinds[1]["properties"]) == {"file", "credential"}
