"""How real llama.cpp processes begin and end: idle time, crashes, reloads, the end of the service itself."""

import http.client
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

STOPPED = 10.0


def test_idle_model_is_unloaded_by_its_ttl(serve, model, sentence):
    """A model without requests for ttl seconds ends, and the next request starts it again."""
    service = serve({"alpha": model("alpha", ttl=1)})
    service.chat("alpha")
    ended = time.monotonic()
    first = service.upstream("alpha")
    assert first.wait_exit(STOPPED)
    assert 0.9 < time.monotonic() - ended < 3
    assert service.chat("alpha").content() == sentence["alpha"]
    assert service.upstream("alpha").pid != first.pid


def test_ttl_never_cuts_a_stream(serve, model):
    """A stream longer than the ttl is whole."""
    service = serve({"alpha": model("alpha", ttl=1)})
    stream = service.endless("alpha", tokens=4000)
    upstream = service.upstream("alpha")
    upstream.send(signal.SIGSTOP)  # however fast this machine is, the stream lasts longer than the ttl
    time.sleep(1.5)  # noqa: TID251 - the time that passes is the test
    upstream.send(signal.SIGCONT)
    assert stream.read().events()[-1]["choices"][0]["finish_reason"] == "length"


def test_killed_model_is_started_again_by_the_next_request(serve, model, sentence):
    """A model that dies while it is idle disappears, and the next request is answered by a new process."""
    service = serve({"alpha": model("alpha")})
    service.chat("alpha")
    first = service.upstream("alpha")
    first.send(signal.SIGKILL)
    service.wait_gone("alpha")
    assert service.chat("alpha").content() == sentence["alpha"]
    assert service.upstream("alpha").pid != first.pid


def test_stream_of_a_killed_model_does_not_look_whole(serve, model, sentence):
    """A model that dies in the middle of a stream gives an error in the stream, never a clean end."""
    service = serve({"alpha": model("alpha")})
    stream = service.endless("alpha")
    service.upstream("alpha").send(signal.SIGKILL)
    answer = stream.read()
    assert "[DONE]" not in answer.text
    assert "alpha" in answer.events()[-1]["error"]["message"]
    service.wait_gone("alpha")
    assert service.chat("alpha").content() == sentence["alpha"]


def test_reload_keeps_the_unchanged_model_and_its_stream(serve, model, sentence):
    """A changed configuration does not touch a model that has not changed, nor its running stream."""
    models = {"alpha": model("alpha"), "beta": model("beta")}
    service = serve(models)
    stream = service.endless("alpha", tokens=1500)
    before = service.upstream("alpha").pid
    service.reload({"models": {**models, "beta": model("beta", "--temp", "0")}})
    assert service.upstream("alpha").pid == before
    answer = stream.read()
    assert answer.events()[-1]["choices"][0]["finish_reason"] == "length"
    assert service.chat("alpha").content() == sentence["alpha"]
    assert service.upstream("alpha").pid == before
    assert service.chat("beta").content() == sentence["beta"]


def test_reload_replaces_the_changed_model_after_its_stream(serve, model, sentence):
    """A model whose command has changed finishes its stream; the next request meets the new process."""
    service = serve({"alpha": model("alpha")})
    stream = service.endless("alpha", tokens=1500)
    before = service.upstream("alpha")
    service.reload({"models": {"alpha": model("alpha", "--temp", "0")}})
    assert stream.read().events()[-1]["choices"][0]["finish_reason"] == "length"
    assert service.chat("alpha").content() == sentence["alpha"]
    assert before.wait_exit(0)


def test_model_that_cannot_load_says_why(serve, model, tmp_path):
    """A start that fails gives the exit code and the last words of llama.cpp."""
    entry = model("alpha")
    entry["cmd"] = entry["cmd"].replace("alpha.gguf", "no-such-file.gguf")
    answer = serve({"alpha": entry}).chat("alpha")
    assert answer.status == 500
    message = answer.json()["error"]["message"]
    assert "no-such-file.gguf" in message
    assert "exit" in message


def test_first_byte_follows_readiness(serve, model, direct):
    """A cold request takes hardly longer than the server alone needs to get ready."""
    service = serve({"alpha": model("alpha")})
    alone, through = [], []
    # On a busy machine single tries are late by chance; one that is late by design stays late in all of them.
    while len(alone) < 12:
        alone.append(ready_after(*direct("alpha")[1:]))
        begin = time.monotonic()
        assert service.call("GET", "/upstream/alpha/health").status == 200
        through.append(time.monotonic() - begin)
        service.call("POST", "/api/models/unload")
        if len(alone) > 2 and min(through) - min(alone) < 0.05:
            return
    pytest.fail(f"alone {alone}, through the service {through}")


def ready_after(port, begin):
    """Seconds from the start of a server to its first healthy answer."""
    while time.monotonic() < begin + STOPPED:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return time.monotonic() - begin
        except OSError:
            pass
        finally:
            connection.close()
    pytest.fail("never healthy")


def test_idle_costs_nothing(serve, model):
    """With a model ready and nothing to do, the service uses less than one percent of a core."""
    service = serve({"alpha": model("alpha", ttl=300)})
    service.chat("alpha")
    before = service.process.cpu_seconds
    assert not service.process.wait_exit(4)
    assert service.process.cpu_seconds - before <= 0.04


def test_sigterm_lets_a_stream_finish(serve, model):
    """The service ends with code 0 after the running stream, and takes its models along."""
    service = serve({"alpha": model("alpha")})
    stream = service.endless("alpha", tokens=1500)
    upstream = service.upstream("alpha")
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(service.stop)
        answer = stream.read()
        assert stopped.result(STOPPED) == 0
    assert answer.events()[-1]["choices"][0]["finish_reason"] == "length"
    assert upstream.wait_exit(0)


def test_no_model_outlives_a_killed_service(serve, model):
    """SIGKILL of the service ends its models too."""
    service = serve({"alpha": model("alpha")})
    service.chat("alpha")
    upstream = service.upstream("alpha")
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    assert upstream.wait_exit(STOPPED)
