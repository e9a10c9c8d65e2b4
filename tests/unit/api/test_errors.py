"""The table of errors and its three forms."""

import json

import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llama_swap.api.errors import TABLE, error_response
from llama_swap.errors import Reason, RequestError
from llama_swap.scheduler.commands import RejectReason


def test_every_reason_has_a_row():
    """No error can be raised that the HTTP layer does not know."""
    assert set(TABLE) == set(Reason)


def test_every_refusal_of_the_scheduler_is_a_reason():
    """The supervisor can translate whatever the core says."""
    assert {reason.value for reason in RejectReason} <= {reason.value for reason in Reason}


def test_json_envelope():
    """By default the answer is the OpenAI envelope with llama-swap's mark."""
    response = error_response(RequestError(Reason.MODEL_UNKNOWN, "no such model"))
    assert response.status == 404
    assert json.loads(response.body) == {
        "src": "llama-swap",
        "error": {"message": "no such model", "type": "invalid_request_error", "param": None, "code": "not_found"},
    }


def test_text_and_html_on_request():
    """Accept chooses plain text or a page in which the message is escaped."""
    error = RequestError(Reason.MODEL_UNKNOWN, "no <b>model</b>")
    assert error_response(error, accept="text/plain").text.startswith("llama-swap: no <b>model</b>")
    page = error_response(error, accept="text/html,*/*")
    assert page.content_type == "text/html"
    assert "no &lt;b&gt;model&lt;/b&gt;" in page.text


@pytest.mark.parametrize("accept", ["", "text/plain", "text/html"])
def test_message_may_hold_whatever_a_client_sent(accept):
    """Bytes that are no text end up escaped, not in an error of ours."""
    response = error_response(RequestError(Reason.MODEL_UNKNOWN, 'no model "\udcff"'), accept=accept)
    assert b"udcff" in response.body


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (1.0, "1"), (7.1, "8")])
def test_retry_after_is_whole_seconds_and_never_zero(seconds, header):
    """A client is never told to come back at once or too early."""
    response = error_response(RequestError(Reason.BACKING_OFF, "later", retry_after_seconds=seconds))
    assert response.headers["Retry-After"] == header


def test_hopeless_errors_tell_the_sdk_not_to_retry():
    """The OpenAI SDK repeats every 5xx unless it is told that it is of no use."""
    assert error_response(RequestError(Reason.START_FAILED, "broken")).headers["x-should-retry"] == "false"
    assert "x-should-retry" not in error_response(RequestError(Reason.UPSTREAM_FAILED, "died")).headers


def test_unauthorized_asks_for_basic():
    """A browser shows its password dialog."""
    response = error_response(RequestError(Reason.UNAUTHORIZED, "no key"))
    assert response.headers["WWW-Authenticate"] == 'Basic realm="llama-swap"'


@pytest.fixture
async def ask(monkeypatch):
    """Makes the OpenAI SDK meet an error; returns how often it asked, and what it raised in the end."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0)
    asked, told = [], []

    async def handler(_request):
        asked.append(told[-1])
        return error_response(told[-1])

    application = web.Application()
    application.router.add_post("/v1/chat/completions", handler)
    async with TestServer(application) as server:

        async def meet(reason, **more):
            told.append(RequestError(reason, "no room: needs 30 GiB of 24 GiB", **more))
            async with openai.AsyncOpenAI(base_url=str(server.make_url("/v1")), api_key="k", max_retries=2) as client:
                with pytest.raises(openai.APIStatusError) as caught:
                    await client.chat.completions.create(model="m", messages=[])
            return len(asked), caught.value

        yield meet


@pytest.mark.parametrize(
    ("reason", "status", "retry_after"),
    [
        (Reason.DOES_NOT_FIT, 507, None),
        (Reason.OUT_OF_MEMORY, 507, None),
        (Reason.PINNED, 409, None),
        (Reason.YIELDED, 503, 60.0),
    ],
)
async def test_sdk_does_not_repeat_what_memory_forbids(ask, reason, status, retry_after):
    """It would load other models out and in again for nothing; its user sees the sum at once."""
    attempts, error = await ask(reason, retry_after_seconds=retry_after)
    assert (attempts, error.status_code) == (1, status)
    assert "30 GiB of 24 GiB" in str(error)
    assert error.response.headers.get("Retry-After") == (retry_after and "60")


async def test_sdk_repeats_other_errors(ask):
    """Or the test above would prove nothing."""
    attempts, _ = await ask(Reason.UPSTREAM_FAILED)
    assert attempts == 3
