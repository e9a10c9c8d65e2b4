"""Headers without secrets."""

import base64
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from llama_swap.activity.redact import redact_body, redact_headers


def test_credentials_are_hidden():
    """llama-swap's list, whatever the case, once each."""
    names = ["Authorization", "PROXY-authorization", "cookie", "Set-Cookie", "X-Api-Key"]
    shown = redact_headers([(name, "s3cret") for name in (*names, "set-cookie")])
    assert shown == dict.fromkeys(names, "[REDACTED]")


def test_keys_are_hidden_wherever_they_are():
    """A configured key in any header, alone or inside of a value, is cut out."""
    shown = redact_headers([("X-Foo", "sk-1"), ("Referer", "http://h/?k=sk-1&x"), ("X-Other", "y")], ("sk-1", ""))
    assert shown == {"X-Foo": "[REDACTED]", "Referer": "http://h/?k=[REDACTED]&x", "X-Other": "y"}


def test_bytes_and_repeated_names():
    """Headers may be as they are on the wire; a repeated name keeps all its values."""
    assert redact_headers([(b"Via", b"a"), (b"via", b"\xe9"), (b"X", b"1")]) == {"Via": "a, é", "X": "1"}


def test_names_that_tell_of_a_secret():
    """Other APIs' credentials are hidden by their name; ordinary headers are shown."""
    secret = [
        "api-key",
        "X-Goog-Api-Key",
        "X-Auth-Token",
        "X-Amz-Security-Token",
        "x-secret",
        "My-Password",
        "X-Credential",
    ]
    ordinary = ["Accept", "Content-Type", "User-Agent", "Host", "X-Request-Id"]
    shown = redact_headers([(name, "v") for name in (*secret, *ordinary)])
    assert shown == dict.fromkeys(secret, "[REDACTED]") | dict.fromkeys(ordinary, "v")


def test_encoded_keys_in_headers():
    """Base64 as in Basic credentials, and percent-encoding of any character."""
    packed = base64.b64encode(b"user:sk-secret").decode()
    shown = redact_headers([("X-A", packed), ("X-B", "k=sk%2Dsecret"), ("X-C", "sk-secre")], ("sk-secret",))
    assert packed[8:-1] not in shown["X-A"]
    assert shown["X-A"].endswith("[REDACTED]")
    assert (shown["X-B"], shown["X-C"]) == ("k=[REDACTED]", "sk-secre")


def test_short_keys_do_not_eat_bodies():
    """A key that is a common word hides nothing, and its removal would spoil what is to be debugged."""
    assert redact_body(b'{"k": "key"}', ("k", "key")) == b'{"k": "key"}'


@given(st.binary(max_size=20), st.text(min_size=6, max_size=24), st.binary(max_size=20), st.booleans())
def test_no_encoding_of_a_key_survives(before, secret, after, urlsafe):
    """Wherever it stands in what is encoded, no text that decodes to the key is left."""
    key = secret.encode()
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    percent = "".join(f"%{byte:02x}" for byte in key).encode()
    for form in (before + key + after, encode(before + key + after), percent, quote(secret).encode()):
        body = redact_body(b'{"x": "' + form + b'"}', (secret,))
        assert b"[REDACTED]" in body
        assert form not in body
