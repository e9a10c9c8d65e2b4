"""How long models stay, and when they make way for other programs: real processes on a machine without a GPU."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from llama_swap.cli import main

TOGETHER = {"all": {"members": ["a", "b"], "swap": False}}


@pytest.fixture
def pair(service):
    """Starts a service with two models, which run side by side; keys for the first, and for the file."""

    def start(first=None, **top):
        models = {"a": service.model(**(first or {})), "b": service.model(ttl=1)}
        service.write({"models": models, "groups": TOGETHER, **top})
        return service.start()

    return start


@pytest.fixture
def command(service, capsys):
    """Runs a client command against the service: (status, what it printed)."""

    def run(*words):
        capsys.readouterr()
        status = main([*words, "--url", f"http://127.0.0.1:{service.port}"])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def forwarded(answer):
    """The body that reached the model's server."""
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["echo"]["body"])


def wait_gone(service, model):
    """Return when a model has no process any more."""
    service.wait_until(lambda: model not in service.states())


def test_keep_alive_of_0_unloads_when_the_request_is_done(service, pair):
    """Ollama's way to get the memory back, for a model that would stay; its server never sees the key."""
    pair()
    body = forwarded(service.chat("a", keep_alive=0, temperature=0.5))
    assert "keep_alive" not in body
    assert body["temperature"] == 0.5
    wait_gone(service, "a")


def test_ttl_of_a_request_is_lm_studios_keep_alive(service, pair):
    """Seconds of idle time; afterwards the model is gone although its configuration would keep it."""
    pair()
    assert "ttl" not in forwarded(service.chat("a", ttl=1))
    assert service.states()["a"] == "ready"
    wait_gone(service, "a")


@pytest.mark.parametrize("kind", ["multipart", "urlencoded"])
def test_keep_alive_in_a_form(service, pair, kind):
    """A field like any other, in front of the file; the model's server sees what else there is, and not this."""
    pair()
    fields = {"keep_alive": "0", "model": "a", "ttl": "", "language": "de"}
    files = {"file": ("a.wav", b"sound")} if kind == "multipart" else None
    answer = service.http.post("/v1/audio/transcriptions", data=fields, files=files)
    assert answer.status_code == 200, answer.text
    body = answer.json()["echo"]["body"]
    assert all(word not in body for word in ("keep_alive", "ttl"))
    assert ("language" in body, "sound" in body) == (True, kind == "multipart")
    wait_gone(service, "a")


@pytest.mark.parametrize("keep_alive", [-1, "1h"])
def test_keep_alive_outlives_the_ttl(service, pair, keep_alive):
    """The other model, used later and with the same ttl, leaves; this one stays, and says for how long."""
    pair({"ttl": 1})
    service.chat("a", keep_alive=keep_alive)
    service.chat("b")
    wait_gone(service, "b")
    assert service.states() == {"a": "ready"}
    row = service.http.get("/api/status").json()["models"][0]
    assert (row["unload_in_seconds"] is None) == (keep_alive == -1)


def test_latest_wish_counts(service, pair):
    """For ever, until somebody else says otherwise; a request without a wish changes nothing."""
    pair({"ttl": 1})
    service.chat("a", keep_alive=-1)
    service.chat("a")
    service.chat("b")
    wait_gone(service, "b")
    assert service.states() == {"a": "ready"}
    service.chat("a", keep_alive="10ms")
    wait_gone(service, "a")


def test_cap(service, pair):
    """keepAlive.max bounds what a request may ask for, but not below the model's own ttl."""
    pair({"ttl": 1}, keepAlive={"max": "90m"})
    service.chat("a", keep_alive=-1)
    row = service.http.get("/api/status").json()["models"][0]
    assert 0 < row["unload_in_seconds"] <= 90 * 60


def test_not_honoured(service, pair):
    """The model leaves in its own time, and its server does not see the key all the same."""
    pair({"ttl": 1}, keepAlive={"honour": False})
    assert "keep_alive" not in forwarded(service.chat("a", keep_alive="nonsense"))
    service.chat("a", keep_alive=-1)
    wait_gone(service, "a")


def test_wrong_keep_alive_starts_nothing(service, pair):
    """400 names key, value and rule."""
    pair()
    answer = service.chat("a", keep_alive="5 minutes")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith('keep_alive: "5 minutes" is not a time: it must be')
    assert service.journal("start") == []


def test_load_with_a_keep_alive(service, pair, command):
    """By command and by request; the answer says what was allowed."""
    pair({"ttl": 1}, keepAlive={"max": "2h"})
    status, said = command("load", "a", "--keep-alive", "3h")
    assert (status, said.rstrip().endswith("; it stays for 2h 0m when idle")) == (0, True), said
    service.chat("b")
    wait_gone(service, "b")
    assert service.states() == {"a": "ready"}
    answer = service.http.post("/api/models/load", json={"model": "a", "keep_alive": 0})
    assert answer.json() == {"msg": "ok", "model": "a", "keep_alive_seconds": 0}
    wait_gone(service, "a")


def test_pin_outlives_the_ttl_until_unpinned(service, pair, command):
    """A pinned model is not unloaded for being idle; unpinned, its idle time counts."""
    pair({"ttl": 1})
    assert command("pin", "a")[0] == 0
    assert "PINNED" in command("ps")[1]
    service.chat("a")
    service.chat("b")
    wait_gone(service, "b")
    assert service.states() == {"a": "ready"}
    assert "yes" in command("ps")[1].splitlines()[1]
    assert command("unpin", "a") == (0, "unpinned a\n")
    wait_gone(service, "a")


def test_pinned_model_can_still_be_unloaded_by_hand(service, pair, command):
    """Who says so means it."""
    pair({"pin": True})
    service.chat("a")
    assert command("unload", "a")[0] == 0
    assert service.states() == {}


def test_model_in_the_way_of_a_pinned_one_is_refused(service):
    """Where only one may run, the other is told at once which one stays and why: 409, and not to be tried again."""
    service.write(
        {"models": {"a": service.model(pin=True), "b": service.model()}, "groups": {"g": {"members": ["a", "b"]}}}
    )
    service.start()
    service.chat("a")
    answer = service.chat("b")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")
    assert answer.json()["error"]["code"] == "models_pinned"
    assert "a" in answer.json()["error"]["message"]
    assert service.states() == {"a": "ready"}


def test_yield_and_return(service, pair, command):
    """Idle models leave at once, requests are refused with the reason, and after the end everything is as before."""
    pair()
    service.chat("a")
    status, said = command("yield", "--as", "gamemode", "--because", "a game runs")
    assert status == 0
    assert said.splitlines() == ["yielded to gamemode: all devices, until it ends: a game runs", "  stopped now: a"]
    wait_gone(service, "a")
    answer = service.chat("a")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "devices_yielded"
    assert "a game runs" in answer.json()["error"]["message"]
    assert answer.headers["Retry-After"] == "60"
    assert "yielded to gamemode: all devices, until it ends: a game runs" in command("ps")[1]
    assert command("yield", "--end", "--as", "gamemode") == (0, "no longer yielded to gamemode\n")
    assert service.chat("a").status_code == 200


def test_yield_for_a_while_ends_by_itself(service, pair):
    """The time left is what a refused client is told to wait, and nobody has to end it."""
    pair()
    service.http.post("/api/yield", json={"for": "5s"})
    refused = service.chat("a")
    assert refused.status_code == 503
    assert 1 <= int(refused.headers["Retry-After"]) <= 5
    service.wait_until(lambda: service.chat("a").status_code == 200)
    assert service.http.get("/api/yield").json() == {"yields": []}


def test_yield_lets_a_stream_finish(service, pair):
    """A busy model finishes what it serves and leaves then."""
    pair()
    with service.stream("a", fake={"chunks": 8, "chunk_delay": 0.05}) as stream:
        lines = stream.iter_lines()
        next(lines)
        answer = service.http.post("/api/yield").json()
        assert (answer["draining"], answer["stopping"]) == (["a"], [])
        assert [line for line in lines if line][-1] == "data: [DONE]"
    wait_gone(service, "a")


def test_yield_does_not_wait_for_ever(service, pair):
    """After yield.drain a busy model is stopped; its client gets an error and no clean end."""
    pair({"unloadTimeout": 1}, **{"yield": {"drain": 1}})
    with service.stream("a", fake={"chunks": 2000, "chunk_delay": 0.05}) as stream:
        lines, rest = stream.iter_lines(), []
        next(lines)
        service.http.post("/api/yield")
        with pytest.raises(httpx.RemoteProtocolError):
            rest.extend(lines)
    assert "data: [DONE]" not in rest
    assert "was stopped while it served this request: its device is left to others" in "".join(rest)
    wait_gone(service, "a")


@pytest.mark.parametrize("before", [0, 1])
def test_a_request_that_is_cut_by_a_yield_is_told_so(service, pair, before):
    """It had begun, so it is not said that its model is not started; on a new connection or a used one."""
    pair({"unloadTimeout": 1}, **{"yield": {"drain": "100ms"}})
    for _ in range(before):
        service.echo("a")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(service.chat, "a", fake={"delay": 60})
        service.wait_until(lambda: len(service.journal("request", "a")) == before + 1)
        service.http.post("/api/yield", json={"because": "a game"})
        answer = asking.result()
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "devices_yielded")
    assert "was stopped while it served this request" in error["message"]
    assert "a game" in error["message"]
    assert int(answer.headers["retry-after"]) >= 1


def test_requests_may_wait_for_the_end_of_a_yield(service, pair):
    """With `requests: wait` a client is served when the devices are back."""
    pair(**{"yield": {"requests": "wait"}})
    service.http.post("/api/yield")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(service.chat, "a")
        service.wait_until(lambda: service.http.get("/api/status").json()["queue"])
        assert service.states() == {}
        service.http.delete("/api/yield")
        assert asking.result().status_code == 200


def test_pinned_model_returns_by_itself(service, pair):
    """Pinned means loaded: what a yield stopped is there again when it ends."""
    pair({"pin": True})
    service.chat("a")
    service.http.post("/api/yield")
    wait_gone(service, "a")
    service.http.delete("/api/yield")
    service.wait_until(lambda: service.states() == {"a": "ready"})


def test_story_of_a_yield(service, pair, command):
    """Why a model left can be read afterwards."""
    pair()
    service.chat("a")
    service.http.post("/api/yield", json={"holder": "me", "because": "a film"})
    wait_gone(service, "a")
    assert "me" in command("story", "a")[1]
    assert "a film" in command("story", "a")[1]
