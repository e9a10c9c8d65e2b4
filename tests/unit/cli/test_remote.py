"""Commands that talk to a service, against a small one that is scripted."""

import io
import os
import socket
import subprocess
import sys
import threading

import pytest

from llama_swap.cli import main

STATUS = {
    "models": [
        {
            "id": "org/big",
            "name": "Big",
            "state": "ready",
            "waiting": 0,
            "in_service": 2,
            "pid": 4711,
            "port": 5800,
            "ttl_seconds": 300,
            "unload_in_seconds": 200.4,
            "since_seconds": 65.2,
            "because": "1 request waits for it",
            "last_error": "",
        },
        {
            "id": "small",
            "name": "",
            "state": "stopped",
            "waiting": 0,
            "ttl_seconds": 0,
            "last_error": "exit code 1\nmore\x1b[2J",
        },
    ]
}


def test_ps(service, capsys):
    """One line a model, empty cells where there is nothing to say."""
    service.answer("GET /api/status", STATUS)
    assert main(["ps"]) == 0
    assert capsys.readouterr().out == (
        "MODEL    STATE    FOR    IN SERVICE  UNLOADS IN  PORT  PID   REASON\n"
        "org/big  ready    1m 5s  2           3m 21s      5800  4711  1 request waits for it\n"
        "small    stopped                                             exit code 1\n"
    )


def test_ps_while_a_model_backs_off(service, capsys):
    """The time of the next try stands before the reason."""
    row = {"id": "m", "state": "backoff", "last_error": "exit code 1", "next_try_in_seconds": 4.2}
    service.answer("GET /api/status", {"models": [row]})
    main(["ps"])
    assert "next try in 5s: exit code 1" in capsys.readouterr().out


def test_ps_without_models(service, capsys):
    """A service with nothing configured says so."""
    service.answer("GET /api/status", {"models": []})
    assert main(["ps"]) == 0
    assert capsys.readouterr().out == "no models\n"


def test_ps_of_the_original_llama_swap(service, capsys):
    """A service without the status route is asked for what runs."""
    service.answer("GET /running", {"running": [{"model": "m", "state": "ready", "ttl": 0}]})
    assert main(["ps"]) == 0
    assert capsys.readouterr().out == "MODEL  STATE\nm      ready\n"


def test_load(service, capsys):
    """The model's ID keeps its slashes and is otherwise quoted; the answer means ready."""
    service.answer("POST /api/models/load/org/a%20b%3F", {"msg": "ok", "model": "org/a b?"})
    assert main(["load", "org/a b?"]) == 0
    assert capsys.readouterr().out.startswith("org/a b? is ready (")


def test_load_gives_up_in_time(capsys):
    """--wait bounds the waiting for a service that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["load", "m", "--wait", "0.05", "--url", url]) == 1
    assert capsys.readouterr().err == f"llama-swap: no answer from {url} in time\n"


def test_a_failed_load_shows_the_reason(service, capsys):
    """The message of the service's error is what the user sees, all lines of it, and nothing that steers a terminal."""
    error = {"error": {"message": "m did not start: exit code 1\nlast line \x1b[2J", "type": "server_error"}}
    service.answer("POST /api/models/load/m", error, status=500)
    assert main(["load", "m"]) == 1
    assert capsys.readouterr().err == "llama-swap: m did not start: exit code 1\nlast line \\x1b[2J\n"


def test_unload(service, capsys):
    """One model or all."""
    service.answer("POST /api/models/unload/m", b"OK")
    service.answer("POST /api/models/unload", {"msg": "ok"})
    assert (main(["unload", "m"]), main(["unload"])) == (0, 0)
    assert capsys.readouterr().out == "unloaded m\nunloaded all models\n"


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["logs"], "/logs/stream?no-follow"),
        (["logs", "proxy"], "/logs/stream/proxy?no-follow"),
        (["logs", "org/m"], "/logs/stream/org/m?no-follow"),
        (["logs", "-f"], "/logs/stream"),
        (["logs", "upstream", "--follow"], "/logs/stream/upstream"),
    ],
)
def test_logs_are_copied_as_they_are(service, words, path, capfdbinary):
    """Bytes pass through untouched, from the log that was asked for."""
    service.answer(f"GET {path}", b"line \xff\x1b[1m\nnext\n")
    assert main(words) == 0
    assert capfdbinary.readouterr().out == b"line \xff\x1b[1m\nnext\n"


def test_story(service, capsys):
    """Entries with the seconds since the first."""
    entries = [
        {"at_seconds": 100.5, "kind": "event", "text": "RequestArrived"},
        {"at_seconds": 102.75, "kind": "command", "text": "StartProcess"},
    ]
    service.answer("GET /api/story/m", {"model": "m", "entries": entries})
    assert main(["story", "m"]) == 0
    assert capsys.readouterr().out == (
        "SECONDS  KIND     WHAT\n+0.000   event    RequestArrived\n+2.250   command  StartProcess\n"
    )


def test_an_empty_story(service, capsys):
    """A model that nothing happened to is no error."""
    service.answer("GET /api/story/m", {"model": "m", "entries": []})
    assert main(["story", "m"]) == 0
    assert capsys.readouterr().out == "nothing has happened to m yet\n"


def test_the_key_comes_from_the_environment(service, monkeypatch):
    """The key is sent as a Bearer token and only if there is one."""
    service.answer("GET /api/status", STATUS)
    main(["ps"])
    monkeypatch.setenv("LLAMA_SWAP_API_KEY", "s3cret")
    main(["ps"])
    assert [headers.get("Authorization") for headers in service.headers] == [None, "Bearer s3cret"]


def test_a_missing_key_says_where_to_put_it(service, capsys):
    """401 names the variable."""
    service.answer("GET /api/status", {"error": {"message": "unauthorized"}}, status=401)
    assert main(["ps"]) == 1
    assert capsys.readouterr().err == "llama-swap: unauthorized (put a key into LLAMA_SWAP_API_KEY)\n"


def test_a_key_with_a_newline_is_not_sent(service, monkeypatch, capsys):
    """A key that would break the request is refused without being shown."""
    monkeypatch.setenv("LLAMA_SWAP_API_KEY", "s3cret\nX: y")
    assert main(["ps"]) == 1
    assert service.asked == []
    assert "s3cret" not in capsys.readouterr().err


def test_nobody_listens(nobody, capsys):
    """Nobody there is said in words."""
    assert main(["ps", "--url", nobody]) == 1
    assert capsys.readouterr().err == f"llama-swap: no llama-swap answers at {nobody}: connection refused\n"


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://h:port", "http://[::1"])
def test_a_bad_url(url, capsys):
    """What is no URL of a service is refused."""
    assert main(["ps", "--url", url]) == 1
    assert "is not a URL" in capsys.readouterr().err


def test_a_url_may_lack_its_scheme_and_have_a_path(service, capsys):
    """host:port is enough; a service behind a path of a reverse proxy can be reached."""
    service.answer("GET /llm/api/status", STATUS)
    assert main(["ps", "--url", service.url.removeprefix("http://") + "/llm/"]) == 0
    assert "org/big" in capsys.readouterr().out


def test_something_else_answers(service, capsys):
    """A server that is no llama-swap is named as such."""
    service.answer("GET /api/status", b"<html>")
    assert main(["ps"]) == 1
    assert "is no llama-swap" in capsys.readouterr().err


def raw_service(answer):
    """A URL at which one request gets these bytes and then the end of the connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with server, server.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return f"http://127.0.0.1:{server.getsockname()[1]}", thread


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed connection without response"),
        (b"220 mail.example ready\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nline\n\r\n", "was cut"),
    ],
)
def test_an_answer_that_breaks_off(answer, words, capfdbinary):
    """A service that dies, also in the middle of a log, is an error and not the end of the log."""
    url, thread = raw_service(answer)
    assert main(["logs", "-f", "--url", url]) == 1
    thread.join()
    out, err = capfdbinary.readouterr()
    assert words in err.decode()
    assert out == (b"line\n" if words == "was cut" else b"")


def test_proxies_of_the_environment_are_not_used(service, nobody, monkeypatch, capsys):
    """HTTP_PROXY is for the internet, not for a service of ours."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, nobody)
    service.answer("GET /api/status", STATUS)
    assert main(["ps"]) == 0
    assert "org/big" in capsys.readouterr().out


def test_a_reader_that_leaves_is_no_error(service):
    """`llama-swap logs | head` ends quietly."""
    service.answer("GET /logs/stream?no-follow", b"x" * 10_000_000)
    command = [sys.executable, "-m", "llama_swap", "logs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout.read(10) == b"x" * 10
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 128 + 13


def test_an_interrupt_ends_quietly(service, monkeypatch, capsys):
    """Ctrl-C while following is how one leaves."""

    class Interrupted(io.BytesIO):
        def write(self, _data):
            raise KeyboardInterrupt

    service.answer("GET /logs/stream", b"line\n")
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(Interrupted()))
    assert main(["logs", "-f"]) == 130
    assert capsys.readouterr().err == ""


def test_explain(service, capsys):
    """What would be stopped, why, what is waited for and by which rule."""
    answer = {
        "requested": "fast",
        "selector": "fast",
        "model": "b",
        "outcome": "waits",
        "would_start": True,
        "would_stop": [
            {"model": "a", "because": "a serves 2 requests"},
            {"model": "c", "because": "idle", "cost": 3.14},
        ],
        "waits_for": "a serves 2 requests",
        "position": 1,
        "rule": {"kind": "matrix", "name": "day", "text": "a|b", "cost": 3},
        "refusal": None,
    }
    service.answer("GET /api/explain/fast", answer)
    assert main(["explain", "fast"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "selector fast stands for b",
        "b has to wait",
        "  stops a: a serves 2 requests",
        "  stops c: idle (cost 3.1)",
        "  waits for: a serves 2 requests (position 1)",
        "  by the rule of matrix day: a|b, cost 3",
    ]


def test_explain_a_refusal(service, capsys):
    """A request that would be refused says how."""
    refusal = {"reason": "backing_off", "message": "it failed"}
    answer = {"selector": None, "model": "a", "outcome": "refused", "would_stop": [], "waits_for": "", "rule": None}
    service.answer("GET /api/explain/a", {**answer, "refusal": refusal})
    assert main(["explain", "a"]) == 0
    assert "backing_off: it failed" in capsys.readouterr().out
