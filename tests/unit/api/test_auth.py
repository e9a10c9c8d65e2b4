"""API keys: where they are read from, in which order, and what is refused."""

import base64

import pytest

from llama_swap.api.auth import Credential, read_credential, require_key
from llama_swap.errors import Reason, RequestError


def basic(user, password):
    """The header of Basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Authorization": "Bearer k"}, Credential("k", ambient=False)),
        ({"Authorization": "bearer  k "}, Credential("k", ambient=False)),
        ({"Authorization": basic("any", "k")}, Credential("k", ambient=True)),
        ({"Authorization": basic("any", "k:with:colons")}, Credential("k:with:colons", ambient=True)),
        ({"x-api-key": "k"}, Credential("k", ambient=False)),
        ({"Authorization": "Bearer first", "x-api-key": "second"}, Credential("first", ambient=False)),
        ({"Authorization": "Digest x", "x-api-key": "second"}, Credential("second", ambient=False)),
        ({"Authorization": "Basic ***"}, None),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()}, None),
        ({}, None),
    ],
)
def test_credential_of_a_request(headers, expected):
    """Basic goes before Bearer before x-api-key; what cannot be decoded is no credential."""
    assert read_credential(headers) == expected


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"x-api-key": ""}, {"x-api-key": "sk-on"}])
def test_wrong_or_missing_key_is_unauthorized(headers):
    """Without one of our keys there is no way in."""
    with pytest.raises(RequestError) as caught:
        require_key(headers, [b"sk-one", b"sk-two"])
    assert caught.value.reason is Reason.UNAUTHORIZED


def test_wrong_bearer_is_not_rescued_by_a_right_x_api_key():
    """The first credential in the order decides, as in llama-swap."""
    with pytest.raises(RequestError):
        require_key({"Authorization": "Bearer wrong", "x-api-key": "sk-one"}, [b"sk-one"])


def test_any_configured_key_is_accepted():
    """Every key of the list opens."""
    assert require_key({"x-api-key": "sk-two"}, [b"sk-one", b"sk-two"]) == Credential("sk-two", ambient=False)


@pytest.mark.parametrize("value", ["Bearer \udcff\udcfe", "Basic \udcff", "Basic é"])
def test_bytes_that_are_no_text_are_just_wrong(value):
    """Whatever a header holds, the answer is 401 and not an error of ours."""
    with pytest.raises(RequestError) as caught:
        require_key({"Authorization": value}, [b"sk-one"])
    assert caught.value.reason is Reason.UNAUTHORIZED


def test_key_beyond_ascii_is_compared_not_crashed_on():
    """A key with any characters is just wrong or right."""
    assert require_key({"x-api-key": "schlüssel"}, ["schlüssel".encode()]) is not None
    with pytest.raises(RequestError):
        require_key({"x-api-key": "schlüssel"}, [b"schluessel"])
