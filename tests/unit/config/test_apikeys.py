"""API keys that stand in files."""

import pytest

from llama_swap.config import PortBook, json_schema, load_config


@pytest.fixture
def keys(tmp_path):
    """A file with two keys and what else such files have."""
    path = tmp_path / "keys"
    path.write_text("# for alice\nsk-alice\n\n  sk-bob \r\n")
    (tmp_path / "more").write_text("k-1\nk-2\n")
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
    (tmp_path / "other").mkdir()
    second = tmp_path / "other" / "keys.yaml"
    second.write_text("apiKeys: [{file: secret}]")
    (tmp_path / "other" / "secret").write_text("sk-carol")
    config = load_config([first, second], env={}, ports=PortBook(lambda _port: True))
    assert config.api_keys == ("sk-carol",)


@pytest.mark.parametrize(
    ("entry", "key", "words"),
    [
        ("{file: gone}", "", "gone cannot be read: No such file"),
        ("{file: empty}", "", "there is no key in "),
        ("{file: binary}", "", "is not text"),
        ("{file: huge}", "", "is too large"),
        ("{file: spaces}", "", "api key cannot contain spaces"),
        ("{key: 'a b'}", "", "api key cannot contain spaces"),
        ("{key: ''}", "", "empty api key"),
        ("{credential: keys}", "", "CREDENTIALS_DIRECTORY is not set"),
        ("{credential: ../keys}", ".credential", "the name of a credential has no `/`"),
        ("{file: ' '}", ".file", "`file` must not be empty"),
        ("{}", "", "exactly one of `key`, `file`, `credential`"),
        ("{name: alice}", "", "exactly one of `key`, `file`, `credential`"),
        ("{file: keys, credential: keys}", "", "exactly one of"),
        ("{path: keys}", "", "exactly one of"),
        ("{key: k, nmae: alice}", ".nmae", "unknown key `nmae`"),
        ("[keys]", "", "must be text or a mapping, not a list"),
        ("~", "", "must be text or a mapping, not empty"),
        ("{file: [keys]}", ".file", "must be text, not a list"),
        ("{key: k, priority: high}", ".priority", "must be a whole number"),
        ("{key: ok, name: alice}", "", "a key of it is in apiKeys[0] too"),
    ],
)
def test_entries_that_are_none(refused, tmp_path, entry, key, words):
    """A source without a usable key is refused: an empty file must not open the service to everybody."""
    for name, content in [
        ("empty", b"\n# none\n"),
        ("binary", b"\xff\n"),
        ("huge", b"k\n" * (1 << 20)),
        ("spaces", b"a b"),
    ]:
        (tmp_path / name).write_bytes(content)
    problems = refused(f"apiKeys: [ok, {entry}]")
    assert set(problems) == {f"apiKeys[1]{key}"}
    assert words in problems[f"apiKeys[1]{key}"].rule


def test_callers(load, keys):
    """Every key has the name and the priority of its entry; without a name each is of somebody else."""
    config = load(
        """
        apiKeys:
          - plain
          - {key: sk-1, name: alice, priority: 2}
          - {key: sk-2, name: alice, priority: -1}
          - {file: keys, name: " team "}
          - {file: more, priority: 3}
        """,
    )
    assert {key: (caller.name, caller.priority) for key, caller in config.api_callers.items()} == {
        "plain": ("apiKeys[0]", 0),
        "sk-1": ("alice", 2),
        "sk-2": ("alice", -1),
        "sk-alice": ("team", 0),
        "sk-bob": ("team", 0),
        "k-1": ("apiKeys[4]#1", 3),
        "k-2": ("apiKeys[4]#2", 3),
    }
    assert config.api_keys == tuple(config.api_callers)
    assert "sk-" not in repr(config.api_callers.values())


def test_a_key_twice_of_one_caller(load):
    """The same key with the same name, or with none the second time, is no contradiction."""
    entries = "{key: sk-1, name: alice}"
    assert load(f"apiKeys: [{entries}, {entries}, sk-1]").api_callers["sk-1"].name == "alice"


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
    """Editors offer all forms."""
    schema = json_schema()
    kinds = schema["properties"]["apiKeys"]["items"]["anyOf"]
    assert {"$ref": "#/$defs/ApiKeySection"} in kinds
    assert {"type": "string"} in kinds
    assert set(schema["$defs"]["ApiKeySection"]["properties"]) == {"key", "file", "credential", "name", "priority"}
