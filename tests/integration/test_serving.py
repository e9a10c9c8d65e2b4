"""The main job through the real command: models start, swap, unload and fail behind one endpoint."""

import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

TWO = ("a", "b")


def together(*models):
    """A group whose members run side by side."""
    return {"all": {"members": list(models), "swap": False}}


def start(service, models, *args, **top):
    """Start with these models and top-level keys."""
    service.write({"models": models, **top})
    return service.start(*args)


def test_models_swap_by_name(service):
    """The model in the request decides what runs; the old process has ended before the new one starts."""
    start(service, {name: service.model() for name in TWO})
    assert service.echo("a")["name"] == "a"
    assert service.echo("b")["name"] == "b"
    assert service.states() == {"b": "ready"}
    assert service.journal("start", "b")[0]["t"] >= service.journal("exit", "a")[0]["t"]


def test_parallel_cold_requests_share_one_start(service):
    """Eight clients of a cold model cause one start and are all served by it."""
    start(service, {"a": service.model("--load-seconds 0.3")})
    with ThreadPoolExecutor(8) as pool:
        pids = {echo["pid"] for echo in pool.map(service.echo, ["a"] * 8)}
    assert len(pids) == 1
    assert len(service.journal("start")) == 1


def test_swap_never_cuts_a_stream(service):
    """A request for another model waits for the running stream, which ends whole."""
    start(service, {name: service.model() for name in TWO})
    service.echo("a")
    with ThreadPoolExecutor(1) as pool, service.stream("a", fake={"chunks": 8, "chunk_delay": 0.05}) as stream:
        lines = stream.iter_lines()
        next(lines)
        other = pool.submit(service.echo, "b")
        rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert other.result()["name"] == "b"
    assert service.journal("sigterm", "a")[0]["t"] >= service.journal("ending", "a")[-1]["t"]


def test_overlapping_traffic_starves_nobody(service):
    """Clients that keep a model busy without a gap still let another model in after maxWait."""
    models = {name: service.model() for name in TWO}
    start(service, models, routing={"scheduler": {"settings": {"fifo": {"maxWait": 0.5}}}})
    service.echo("a")
    stop = threading.Event()

    def hammer():
        while not stop.is_set():
            service.chat("a", fake={"delay": 0.2})

    clients = [threading.Thread(target=hammer) for _ in range(3)]
    for client in clients:
        client.start()
        time.sleep(0.07)  # noqa: TID251 - the clients must overlap
    began = time.monotonic()
    try:
        assert service.echo("b")["name"] == "b"
    finally:
        waited = time.monotonic() - began
        stop.set()
        for client in clients:
            client.join()
    assert 0.4 < waited < 5


def test_failed_start_tells_exit_code_and_last_words(service):
    """Every waiter of a start that fails gets the exit status and what the process wrote."""
    start(service, {"a": service.model("--crash-at-start 7 --say 'ggml: no such device'")})
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(service.chat, ["a"] * 3))
    for answer in answers:
        assert answer.status_code == 500
        assert answer.headers["x-should-retry"] == "false"
        message = answer.json()["error"]["message"]
        assert "7" in message
        assert "no such device" in message
        assert '"a"' in message or " a " in message


def test_crash_loop_backs_off_and_says_until_when(service):
    """A model that keeps failing is refused for a while, with the time of the next try."""
    start(service, {"a": service.model("--crash-at-start 7")})
    answers = [service.chat("a") for _ in range(6)]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert int(refused.headers["Retry-After"]) >= 1
    assert "next try" in refused.json()["error"]["message"]
    assert len(service.journal("start")) < 6


def test_crash_while_ready_is_seen_at_once_and_the_next_request_restarts(service):
    """A killed upstream leaves /running without being asked, and comes back on demand."""
    start(service, {"a": service.model()})
    pid = service.echo("a")["pid"]
    os.kill(pid, signal.SIGKILL)
    service.wait_until(lambda: service.states() == {}, timeout=1)
    assert service.echo("a")["pid"] != pid


def test_death_before_the_head_is_a_502_that_names_the_model(service):
    """The client is told which model's server died."""
    start(service, {"model-x": service.model()})
    answer = service.chat("model-x", fake={"die": "before-headers"})
    assert answer.status_code == 502
    assert "model-x" in answer.json()["error"]["message"]


def test_request_that_kills_its_server_is_not_sent_twice(service):
    """Also on a connection that was used before, and may be over for other reasons; no model starts for it."""
    start(service, {"a": service.model()})
    for deaths in range(1, 11):
        service.echo("a")
        assert service.chat("a", fake={"die": "before-headers"}).status_code == 502
        posts = [entry for entry in service.journal("request") if entry["method"] == "POST"]
        assert (len(posts), len(service.journal("start"))) == (2 * deaths, deaths)


def test_death_in_mid_stream_is_never_a_clean_end(service):
    """An event stream ends in an error event and a broken transfer."""
    start(service, {"a": service.model()})
    received = []
    with service.stream("a", fake={"chunks": 9, "die": 3}) as stream, pytest.raises(httpx.RemoteProtocolError):
        received.extend(stream.iter_raw())
    events = [line for line in b"".join(received).decode().split("\n\n") if line.startswith("data: ")]
    assert "error" in json.loads(events[-1].removeprefix("data: "))
    assert "data: [DONE]" not in events


def test_idle_model_leaves_after_its_ttl_but_never_under_a_request(service):
    """The ttl counts from the end of the last request; a longer request is not cut."""
    start(service, {"a": service.model(ttl=1)})
    assert service.chat("a", fake={"delay": 1.6}).status_code == 200
    ended = time.monotonic()
    service.wait_until(lambda: service.states() == {}, timeout=5)
    assert 0.9 < service.journal("sigterm")[0]["t"] - ended < 2


def test_model_nobody_waits_for_any_more_is_kept_for_its_ttl(service):
    """A client that gives up during a long load finds the model loaded when it comes back."""
    start(service, {"a": service.model("--load-seconds 0.6", ttl=30)})
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"http://127.0.0.1:{service.port}/v1/chat/completions", json={"model": "a"}, timeout=0.2, trust_env=False
        )
    service.wait_until(lambda: service.states() == {"a": "ready"})
    service.wait_until(lambda: "499" in service.output())
    assert service.echo("a")["pid"] == service.journal("start")[0]["pid"]


def test_unload_and_load_by_api(service):
    """The levers answer when it is done: loaded means ready, unloaded means gone."""
    start(service, {"org/a": service.model(aliases=["al"])})
    assert service.http.post("/api/models/load/al").json() == {"msg": "ok", "model": "org/a"}
    assert service.states() == {"org/a": "ready"}
    assert service.http.post("/api/models/unload/org/a").text == "OK"
    assert service.states() == {}
    assert service.leftovers() == []
    assert service.http.post("/api/models/load/org/b").status_code == 404


def test_preload(service):
    """Preloaded models are ready without a request."""
    start(service, {"a": service.model(), "b": service.model()}, hooks={"on_startup": {"preload": ["b"]}})
    assert service.wait_until(lambda: service.states() == {"b": "ready"})


def test_whole_tree_dies_with_its_model(service):
    """A grandchild in a session of its own does not survive an unload."""
    start(service, {"a": service.model("--fork-grandchild session")})
    service.echo("a")
    (grandchild,) = service.journal("grandchild")
    service.http.get("/unload")
    assert service.wait_until(lambda: not Path(f"/proc/{grandchild['pid']}").exists(), timeout=2)


def test_no_upstream_survives_the_death_of_the_service(service):
    """SIGKILL of the service leaves no process behind."""
    start(service, {n: service.model("--fork-grandchild session") for n in TWO}, groups=together(*TWO))
    service.echo("a")
    service.echo("b")
    children = [row["pid"] for row in service.journal("grandchild")]
    service.process.kill()
    service.process.wait(5)
    service.wait_until(lambda: not service.leftovers(), timeout=3)
    assert service.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), timeout=3)


def test_shutdown_finishes_what_runs_and_refuses_what_comes(service):
    """SIGTERM: the stream in service ends whole, new connections are refused, status 0, nothing left."""
    start(service, {"a": service.model()})
    service.echo("a")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.chat, "a", fake={"delay": 0.8})
        service.wait_until(lambda: len(service.journal("request")) == 2)
        service.process.send_signal(signal.SIGTERM)
        service.wait_until(lambda: not _connects(service.port), timeout=2)
        assert answer.result().status_code == 200
    assert service.process.wait(10) == 0
    assert service.leftovers() == []


def _connects(port):
    try:
        httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=1)
    except httpx.TransportError:
        return False
    return True


def test_idle_costs_nothing(service):
    """With a ready model and nothing to do, the service uses less than 1 % of a core."""
    start(service, {"a": service.model(ttl=600)}, "--watch-config")
    service.echo("a")

    def cpu_seconds():
        fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_seconds()
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(3)
    assert cpu_seconds() - before <= 0.03
