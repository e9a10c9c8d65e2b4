"""What a streaming client hears while its model loads, and when that fails."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from llama_swap.api import waiting


def events(text):
    """The data of the events of a stream."""
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def test_loading_state_is_whole_chunks_and_then_the_stream(service):
    """Every chunk has what strict SDKs ask for; the answer of the upstream follows as it came."""
    service.write({"sendLoadingState": True, "models": {"m": service.model("--load-seconds 0.4")}})
    service.start()
    with service.stream("m", fake={"chunks": 3}) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream"
        stream.read()
    data = events(stream.text)
    assert data[-1] == "[DONE]"
    chunks = [json.loads(text) for text in data[:-1]]
    for chunk in chunks:
        assert {"id", "object", "created", "model", "choices"} <= set(chunk)
    told = "".join(c["delta"].get("reasoning_content") or "" for chunk in chunks for c in chunk["choices"])
    assert "loading model: m" in told
    assert "Done!" in told
    assert any(c["delta"].get("content") for chunk in chunks for c in chunk["choices"])


def test_position_in_the_queue_is_told(service):
    """Behind another model the client learns where it stands and why."""
    service.write({"sendLoadingState": True, "models": {"a": service.model(), "b": service.model()}})
    service.start()
    service.echo("a")
    with service.stream("a", fake={"chunks": 6, "chunk_delay": 0.2}) as busy:
        lines = busy.iter_lines()
        next(lines)
        with service.stream("b") as stream:
            text = stream.iter_text()
            seen = ""
            while "Queue position: #1" not in seen:
                seen += next(text)
            assert "a serves 1 request" in seen
            assert list(lines)
            assert "[DONE]" in "".join(text)


def test_failed_load_ends_the_stream_with_an_error_event(service):
    """The stream has begun with 200, so the error is an event, and nothing looks like success."""
    service.write({"sendLoadingState": True, "models": {"m": service.model("--crash-at-start 7 --load-seconds 0.3")}})
    service.start()
    with service.stream("m") as stream:
        stream.read()
    last = json.loads(events(stream.text)[-1])
    assert "7" in last["error"]["message"]
    assert last["error"]["code"] == "model_start_failed"
    assert "[DONE]" not in stream.text


def test_upstream_error_after_the_loading_state_is_an_event(service):
    """An upstream that answers with an error status cannot change ours any more: its error is passed on as an event."""
    service.write({"sendLoadingState": True, "models": {"m": service.model("--load-seconds 0.3")}})
    service.start()
    body = json.dumps({"error": {"message": "context too long", "code": 400}})
    with service.stream("m", fake={"status": 400, "body": body}) as stream:
        stream.read()
    assert json.loads(events(stream.text)[-1])["error"]["message"] == "context too long"


def test_cancel_during_the_loading_state_ends_the_stream_and_not_the_connection(service):
    """The client has a head already: it gets an error event and the end of the stream, never a second answer."""
    service.write({"sendLoadingState": True, "models": {"m": service.model("--load-seconds 5")}})
    service.start()
    with service.stream("m") as stream:
        text = stream.iter_text()
        seen = next(text)
        (entry,) = service.http.get("/api/inflight").json()["requests"]
        service.http.post(f"/api/inflight/{entry['id']}/cancel")
        seen += "".join(text)
    assert json.loads(events(seen)[-1])["error"]["code"] == "request_cancelled"
    assert "HTTP/1.1" not in seen


def test_answer_into_a_begun_stream_is_asked_for_uncompressed(service):
    """The head said nothing of compression, so the upstream must not use it."""
    service.write({"sendLoadingState": True, "models": {"m": service.model("--load-seconds 0.3")}})
    service.start()
    service.echo("m")
    metered = {
        name.lower(): value for name, value in service.echo("m", headers={"Accept-Encoding": "br, gzip"})["headers"]
    }
    assert metered["accept-encoding"] == "gzip"
    service.http.get("/unload")
    with service.stream("m", fake={"body": "{}", "content_type": "application/json"}) as stream:
        stream.read()
    assert "error" in json.loads(events(stream.text)[-1])
    service.wait_until(lambda: service.http.get("/api/metrics/activity").json()["data"][0]["outcome"] != "ok")


def test_refusals_that_come_at_once_keep_their_status(service):
    """Only a client that really waits gets an early answer."""
    service.write({"sendLoadingState": True, "models": {"m": service.model("--load-seconds 0.5", concurrencyLimit=1)}})
    service.start()
    with service.stream("m") as first:
        assert service.chat("m", stream=True).status_code == 429
        assert service.chat("n", stream=True).status_code == 404
        first.read()


def test_silent_keep_alive_is_a_comment(monkeypatch):
    """Streams without the loading state are kept alive by what no parser sees; short waits hear nothing."""
    assert waiting._SILENT_SECONDS >= 5
    sent = []

    class Stream:
        def __init__(self, *_):
            pass

        def send(self, text):
            sent.append(text)

    class Transport:
        def is_closing(self):
            return False

    class Request:
        path = "/v1/completions"
        transport = Transport()

    monkeypatch.setattr(waiting, "EarlyStream", Stream)
    wait = waiting.Waiting(Request(), None, None, None, 1, tells_progress=False)
    monkeypatch.setattr(waiting.Waiting, "_standing", lambda _self: "Queue position: #2 (a is loading)")
    monkeypatch.setattr(waiting.Waiting, "_set_timer", lambda _self, _seconds: None)

    class Visit:
        exchange = None

    wait.visit = Visit()
    wait._tell()
    assert sent == [b": Queue position: #2 (a is loading)\n\n"]


@pytest.mark.slow
def test_keep_alive_reaches_the_clients_of_a_slow_model(service):
    """A completion stream that waits longer than ten seconds hears a comment, then its answer.

    Below /upstream, where the body is not read, the Accept header says that a stream is wanted.
    """
    service.write({"models": {"m": service.model("--load-seconds 11")}})
    service.start()
    headers = {"Accept": "text/event-stream", "Content-Type": "application/json"}
    body = b'{"stream": true, "messages": []}'
    with ThreadPoolExecutor(2) as clients:
        read = clients.submit(service.http.post, "/v1/completions", json={"model": "m", "stream": True})
        unread = clients.submit(service.http.post, "/upstream/m/v1/completions", content=body, headers=headers)
    for answer in (read.result(), unread.result()):
        assert answer.text.startswith((": m is loading", ": Queue position"))
        assert events(answer.text)[-1] == "[DONE]"
