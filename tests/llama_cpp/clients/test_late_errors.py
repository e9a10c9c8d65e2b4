"""What SDKs make of event streams that the service keeps alive for a while and that then cannot go on, or can.

A stream that waits longer than ten seconds begins with comments, so its status is 200 whatever comes. All the requests
wait at once, behind a model that takes a little longer than that to fail.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

anthropic = pytest.importorskip("anthropic", reason="the extra `clients` is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(model):
    """A model that fails late, and one that has to wait for that."""
    return {"late": {**model("alpha"), "cmd": "sh -c 'sleep 12; exit 3' ${PORT}"}, "alpha": model("alpha")}


def read_openai(base_url, name, content):
    """The text of a streamed chat completion."""
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key="none", max_retries=0) as client:
        message = {"role": "user", "content": content}
        stream = client.chat.completions.create(model=name, messages=[message], stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def read_anthropic(base_url, name, content):
    """The text of a streamed message."""
    with anthropic.Anthropic(base_url=base_url, api_key="none", max_retries=0) as client:
        message = {"role": "user", "content": content}
        stream = client.messages.create(model=name, max_tokens=100, messages=[message], stream=True)
        return "".join(event.delta.text for event in stream if event.type == "content_block_delta")


READERS = (read_openai, read_anthropic)


@pytest.fixture(scope="module")
def results(service):
    """What became of each request, by SDK and what was asked for: a future."""
    with ThreadPoolExecutor(6) as pool:

        def ask(what, name, content):
            return {(read.__name__, what): pool.submit(read, service.base_url, name, content) for read in READERS}

        futures = ask("failed load", "late", "x")
        while service.running().get("late") != "starting":
            assert not any(future.done() for future in futures.values()), futures
        yield {**futures, **ask("error of the upstream", "alpha", "x" * 40000), **ask("answer", "alpha", "x")}


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_answer_follows_the_comments(results, sdk, sentence):
    """Comments before an answer are no part of it."""
    assert results[f"read_{sdk}", "answer"].result(60) == sentence["alpha"]


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_failed_load_raises(results, sdk):
    """A load that fails after the comments raises the SDK's own exception with the reason."""
    with pytest.raises((openai.APIError, anthropic.APIError), match="late failed to start"):
        results[f"read_{sdk}", "failed load"].result(60)


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_error_of_the_upstream_raises(results, sdk):
    """What the upstream refuses after the comments raises the SDK's own exception with the reason."""
    with pytest.raises((openai.APIError, anthropic.APIError), match="context size"):
        results[f"read_{sdk}", "error of the upstream"].result(60)


def test_stream_was_begun_by_comments(service, results):
    """The requests did wait so long that their streams began with a keep-alive: the statuses say 200 to the client."""
    for future in results.values():
        future.exception(60)
    rows = service.call("GET", "/api/metrics/activity?model=alpha").json()["data"]
    assert [row["duration_ms"] > 10000 for row in rows] == [True] * 4, json.dumps(rows)
