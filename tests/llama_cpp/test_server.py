"""The llama.cpp servers themselves: what the other tests of this folder and the service rely on.

Where a llama-server is found the same facts hold for it, so the embedded server is a fair stand-in.
"""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

CHAT = {"messages": [{"role": "user", "content": "Who are you?"}]}


def ask(port, method="GET", path="/health", body=None, **headers):
    """Status, headers and text of one answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        headers |= {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()


def wait_healthy(port, seconds=20.0):
    """The different answers of /health, in order, until the server is healthy; None is no answer."""
    end = time.monotonic() + seconds
    seen = []
    while time.monotonic() < end:
        try:
            status = ask(port)[0]
        except OSError:
            status = None
        seen += [] if seen[-1:] == [status] else [status]
        if status == 200:
            return seen
    pytest.fail(f"not healthy after {seconds} s: {seen}")


def wait_handles(pid, number, seconds=20.0):
    """Return when the process handles a signal.

    Both servers are healthy a moment before they do; until then a signal ends them by its default.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
        if int(caught[1], 16) >> (number - 1) & 1:
            return
    pytest.fail(f"does not handle signal {number} after {seconds} s")


def test_health_is_only_200_once_the_model_is_loaded(direct):
    """While the model loads the server refuses connections or answers 503, then 200."""
    _, port, _ = direct("alpha")
    assert wait_healthy(port) in ([None, 200], [None, 503, 200])


def test_chat_answers_with_the_sentence_of_the_model(direct, sentence):
    """A chat completion is the sentence written into the weights and ends by itself."""
    _, port, _ = direct("alpha")
    wait_healthy(port)
    choice = json.loads(ask(port, "POST", "/v1/chat/completions", CHAT)[2])["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (sentence["alpha"], "stop")


def test_completion_stops_at_max_tokens(direct, sentence):
    """Without an end of the sequence the model repeats its sentence up to the limit."""
    _, port, _ = direct("beta")
    wait_healthy(port)
    body = {"prompt": "x", "max_tokens": 30, "ignore_eos": True}
    answer = json.loads(ask(port, "POST", "/v1/completions", body)[2])
    assert answer["usage"]["completion_tokens"] == 30
    assert answer["choices"][0]["text"].startswith(sentence["beta"] * 2)


def test_embeddings_tell_texts_apart(direct):
    """Equal texts have equal embeddings, different texts do not."""
    _, port, _ = direct("alpha", "--embeddings", "--pooling", "mean")
    wait_healthy(port)
    body = {"input": ["one text", "one text", "another text"]}
    one, same, other = (item["embedding"] for item in json.loads(ask(port, "POST", "/v1/embeddings", body)[2])["data"])
    assert one == pytest.approx(same, abs=1e-3)
    assert one != pytest.approx(other, abs=1e-3)


def test_flags_reach_llama_cpp(direct):
    """Alias, context, number of slots and API key are the server's own."""
    _, port, _ = direct("alpha", "--alias", "a-name", "-np", "2", "--api-key", "secret", "--no-warmup", "--jinja")
    wait_healthy(port)
    [entry] = json.loads(ask(port, "GET", "/v1/models", Authorization="Bearer secret")[2])["data"]
    assert (entry["id"], entry["meta"]["n_ctx"] * 2) == ("a-name", 32768)
    assert ask(port, "POST", "/v1/chat/completions", CHAT)[0] == 401


def test_idle_connection_is_announced_to_close_after_five_seconds(direct):
    """The keep-alive that our connection pool must stay below is 5 s, and at most 100 requests."""
    _, port, _ = direct("alpha")
    wait_healthy(port)
    assert ask(port)[1]["Keep-Alive"] == "timeout=5, max=100"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_server_cleanly(direct, number):
    """An idle server ends with exit code 0, not later than one with a stream would, and its port is free."""
    child, port, _ = direct("alpha")
    wait_healthy(port)
    wait_handles(child.pid, number)
    child.send_signal(number)
    assert child.wait(15) == 0
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_embedded_server_ends_at_once_in_the_middle_of_a_stream(direct, upstream):
    """SIGTERM does not wait for a stream, and the stream is broken off, not ended as if it were whole."""
    if upstream.name != "embedded":
        pytest.skip("llama-server waits up to 30 s for the stream")
    child, port, _ = direct("alpha")
    wait_healthy(port)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = {**CHAT, "stream": True, "ignore_eos": True, "max_tokens": 30000}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read1(100)
    wait_handles(child.pid, signal.SIGTERM)
    child.terminate()
    assert child.wait(15) == 0
    with contextlib.closing(connection), pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()


def test_bad_command_line_is_named(upstream):
    """An unknown flag ends the server with exit code 1 and the flag in the message."""
    done = subprocess.run(
        [*upstream.command, "-m", "x.gguf", "--no-such-flag"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "--no-such-flag" in done.stderr


def test_missing_model_is_named(upstream, tmp_path):
    """A file that does not exist ends the server with exit code 1 and the file in the message."""
    file = str(tmp_path / "no-such.gguf")
    done = subprocess.run([*upstream.command, "-m", file], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert file in done.stderr


def test_port_in_use_is_an_error(direct, upstream, gguf):
    """A second server on the same port ends instead of sharing it."""
    _, port, _ = direct("alpha")
    wait_healthy(port)
    argv = [*upstream.command, "-m", str(gguf["beta"]), "--port", str(port)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert str(port) in done.stderr
