"""How single values are written."""

import pytest

CMD = "cmd: srv --port ${PORT}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ('"7"', 7),
        ("10s", 10),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5d", 129600),
    ],
)
def test_durations(model, text, seconds):
    """Seconds as a number, or text with units."""
    assert model(f"{CMD}\nttl: {text}").ttl_seconds == seconds
    assert model(CMD, top=f"healthCheckTimeout: {text}").health_check_timeout_seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "1:30",
        "5 m",
        "m",
        "yes",
        "true",
        "[1]",
        "{a: 1}",
        ".inf",
        ".nan",
        "10x",
        "1e400",
        "1e11",
        "-1e11",
        "99999999999d",
        "'99999999999'",
        "9" * 400,
    ],
)
def test_bad_durations(refused, text):
    """Anything else is refused with the forms that are accepted."""
    problem = refused(f"globalTTL: {text}\nmodels: {{}}")["globalTTL"]
    assert '"1h30m"' in problem.rule


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1048576),
        ("100MB", 100_000_000),
        ("1GiB", 2**30),
        ("1.5 kb", 1500),
        ("2M", 2_000_000),
        ("5B", 5),
    ],
)
def test_sizes(load, text, size):
    """Bytes as a number, or text with decimal or binary units."""
    assert load(f"maxBodySize: {text}\nmodels: {{}}").max_body_bytes == size


@pytest.mark.parametrize("text", ["1.5", "-1", "big", "1XB", "true", "[]", "9" * 400 + "TB"])
def test_bad_sizes(refused, text):
    """Anything else is refused."""
    assert refused(f"maxBodySize: {text}\nmodels: {{}}")["maxBodySize"]


@pytest.mark.parametrize(
    ("text", "name"), [("text", "text"), ("1.50", "1.50"), ("yes", "yes"), ("TRUE", "TRUE"), ("0x1F", "0x1F")]
)
def test_text(model, text, name):
    """Numbers and booleans are text where text is wanted, spelled as they were."""
    assert model(f"{CMD}\nname: {text}").name == name


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("name: [a]", "must be text, not a list"),
        ("name: {a: 1}", "must be text, not a mapping"),
        ("aliases: [null]", "must be text, not empty"),
        ("aliases: a", "must be a list"),
        ("filters: x", "must be a mapping"),
        ("filters: {setParams: [1]}", "must be a mapping"),
        ("metadata: x", "must be a mapping"),
        ("metadata: {a: [.nan]}", "must be a number that JSON knows"),
        ("unlisted: yes", "must be true or false"),
        ("unlisted: 1", "must be true or false"),
        ("concurrencyLimit: true", "must be a whole number"),
        ("concurrencyLimit: 1.0", "must be a whole number"),
        ("concurrencyLimit: '5'", "must be a whole number"),
        ("capabilities: {context: -1}", "must be at least 0"),
        ("capabilities: {in: [video]}", "must be one of: text, audio, image"),
        ("ttl: -2", "must be at least -1"),
        ("unloadTimeout: -1", "must be at least 0"),
        ("timeouts: {connect: -1}", "must be at least 0"),
        ("cmdStop: {a: 1}", "must be text or a list"),
    ],
)
def test_rules_in_plain_words(refused, keys, words):
    """Every breach is told in words of the configuration, none in those of the library that finds it."""
    (problem,) = refused(f"models: {{m: {{{CMD}, {keys}}}}}").values()
    assert words in problem.rule
    assert problem.line == 1


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("logLevel", "WARN", "warning"),
        ("logToStdout", "both", "Both"),
        ("logTimeFormat", "RFC3339Nano", "iso"),
        ("logTimeFormat", "''", "rfc"),
    ],
)
def test_words(load, refused, key, good, bad):
    """A word out of a list; levels and time formats in any case."""
    load(f"{key}: {good}\nmodels: {{}}")
    assert "must be one of: " in refused(f"{key}: {bad}\nmodels: {{}}")[key].rule


@pytest.mark.parametrize("value", ["0", "-99", "abcd", "65536", "5800.0", "'5800'"])
def test_start_port(refused, value):
    """A port is a whole number from 1 to 65535."""
    assert refused(f"startPort: {value}\nmodels: {{}}")["startPort"].value == f'"{value.strip(chr(39))}"'
