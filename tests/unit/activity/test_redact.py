"""Headers without secrets."""

from llama_swap.activity.redact import redact_headers


def test_credentials_are_hidden():
    """llama-swap's list, whatever the case, once each."""
    names = ["Authorization", "PROXY-authorization", "cookie", "Set-Cookie", "X-Api-Key"]
    shown = redact_headers([(name, "s3cret") for name in (*names, "set-cookie")])
    assert shown == dict.fromkeys(names, "[REDACTED]")


def test_keys_are_hidden_wherever_they_are():
    """A configured key in any header, alone or inside of a value, is cut out."""
    shown = redact_headers([("X-Key", "sk-1"), ("Referer", "http://h/?k=sk-1&x"), ("X-Other", "y")], ("sk-1", ""))
    assert shown == {"X-Key": "[REDACTED]", "Referer": "http://h/?k=[REDACTED]&x", "X-Other": "y"}


def test_bytes_and_repeated_names():
    """Headers may be as they are on the wire; a repeated name keeps all its values."""
    assert redact_headers([(b"Via", b"a"), (b"via", b"\xe9"), (b"X", b"1")]) == {"Via": "a, é", "X": "1"}
