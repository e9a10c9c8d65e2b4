"""Where memory is not what was thought: floors that are too high, what is not seen, what is declared for the host."""

import os
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import FAKE
from .test_memory import GIB, claim, errors_of, gib, pools, starts

EXACT = {"headroom": 0, "hostHeadroom": 0, "minResidency": 0}


@pytest.fixture
def serve(service):
    """``serve(card or None, models)`` starts the service where memory decides."""

    def start(card, models, **fit):
        service.write({"models": models, "routing": {"router": {"use": "fit", "settings": {"fit": {**EXACT, **fit}}}}})
        service.start(env=card.env if card is not None else None)
        service.wait_until(lambda: pools(service))

    return start


def test_failures_for_want_of_memory_lock_nobody_out(serve, service, card):
    """They raise what the next start gets; where so much is not to be had it is tried with what there is."""
    serve(card(24), {"a": service.model(gib(18, vram_grow="4GiB"), vram="18GiB")})
    answers = [service.chat("a") for _ in range(7)]
    codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200}
    assert codes == {"out_of_memory"}
    assert starts(service, "a") >= [3]
    need = service.http.get("/api/explain/a").json()["memory"]["need"]
    assert 18 * GIB < need["device_bytes"] <= 24.5 * GIB


def test_a_container_that_cannot_be_seen_into_keeps_what_was_declared(serve, service, card, tmp_path):
    """What it has looks like somebody else's; yet it yields, leaves for others, and its need is what was declared."""
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\nshift 4\nexec {sys.executable} -S {FAKE} "$@"\n')
    docker.chmod(0o755)
    machine = card(24)
    command = f"{docker} run --gpus all img --port ${{PORT}} --name a"
    serve(machine, {"a": {"cmd": command, "vram": "18GiB"}, "b": service.model(gib(10), vram="10GiB")})
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(service.chat, "a")
        service.wait_until(lambda: service.journal("start", "a"))
        inside = machine.foreign(gpu0=18)
        assert answer.result().status_code == 200
    service.wait_until(
        lambda: next(row for name, row in pools(service).items() if name != "host")["foreign_bytes"] == 0
    )
    assert claim(service, "a") == 18
    assert service.http.get("/api/explain/b").json()["would_stop"][0]["model"] == "a"
    assert service.http.post("/api/yield").json()["stopping"] == ["a"]
    inside.kill()
    inside.wait()
    service.wait_until(lambda: not service.states())
    service.http.delete("/api/yield")
    need = service.http.get("/api/explain/a").json()["memory"]["need"]
    assert (need["source"], need["device_bytes"]) == ("declared", 18 * GIB)
    service.echo("b")
    assert service.http.get("/api/explain/a").json()["would_stop"][0]["model"] == "b"
    assert starts(service, "a", "b") == [1, 1]


def test_a_server_that_makes_itself_smaller_is_not_refused(serve, service, card, adapting):
    """What it took of an empty card is a wish: it takes what there is, and again all of it when that is there."""
    machine = card(24)
    # Until then what others use may still be that of the last run.
    serve(machine, {"a": {"cmd": f"{adapting} --name a"}, "b": service.model(gib(1), vram="1GiB")}, releaseTimeout=1)
    assert _taken(service) == 22.8
    _unload(service)
    need = service.http.get("/api/explain/a").json()["memory"]["need"]
    assert (need["source"], need["device_bytes"]) == ("learned", int(22.8 * GIB))

    desktop = machine.foreign(gpu0=1.5)
    assert "22.5 GiB can be had" in _measured(service)
    assert _taken(service) == 21.5
    _unload(service)
    game = machine.foreign(gpu0=22)
    assert "512 MiB can be had" in _measured(service)
    answer = service.chat("a")
    assert errors_of(answer) == (507, "insufficient_memory", "false")
    assert "makes itself smaller: takes what there is, at least" in answer.json()["error"]["message"]

    for other in (desktop, game):
        other.kill()
        other.wait()
    assert "24.0 GiB can be had" in _measured(service)
    service.echo("b")
    assert _taken(service) == 22.0
    assert service.states() == {"a": "ready", "b": "ready"}, "as much as it usually takes is there beside b"
    assert not service.journal("out-of-memory")


def test_a_server_that_makes_itself_smaller_leaves_what_shall_stay_free(serve, service, card, adapting):
    """Else it would take all but a GiB, since nobody else tells it."""
    machine = card(24)
    serve(machine, {"a": {"cmd": f"{adapting} --name a"}}, headroom="6GiB")
    assert _taken(service) == 18.0
    _unload(service)
    machine.foreign(gpu0=2)
    assert "16.0 GiB can be had" in _measured(service)
    assert _taken(service) == 16.0
    assert not service.journal("out-of-memory")


def test_nobody_leaves_again_for_what_is_too_large_for_the_card(serve, service, card):
    """Of one of unknown need it is learned that all there was did not suffice; a restart does not forget that."""
    machine = card(24)
    serve(machine, {"u": service.model(gib(40)), "b": service.model(gib(4), vram="4GiB")})
    service.echo("b")
    assert errors_of(service.chat("u"))[:2] == (507, "out_of_memory")
    service.echo("b")
    answer = service.chat("u")
    assert errors_of(answer) == (507, "insufficient_memory", "false")
    assert "24.0 GiB of devices were not enough" in answer.json()["error"]["message"]
    service.stop()
    service.start(env=machine.env)
    service.echo("b")
    assert errors_of(service.chat("u")) == (507, "insufficient_memory", "false")
    assert service.states() == {"b": "ready"}
    assert starts(service, "u", "b") == [1, 3]


def test_who_waits_for_a_yield_does_not_hold_up_the_end(service, card):
    """The service ends at once, and the request that it could never serve is told why."""
    model = service.model(gib(4), vram="4GiB")
    service.write({"models": {"a": model}, "routing": {"router": {"use": "fit"}}, "yield": {"requests": "wait"}})
    service.start(env=card(24).env)
    service.http.post("/api/yield", json={"because": "a film"})
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(service.chat, "a")
        service.wait_until(lambda: service.http.get("/api/status").json()["queue"])
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 20, "the budget of requests that can be served is 30 s"
        assert errors_of(waiting.result())[:2] == (503, "devices_yielded")


def test_memory_of_the_machine_may_be_declared_alone(serve, service):
    """Where there is no device it is all that a model needs."""
    serve(None, {"small": service.model(ram="1GiB"), "huge": service.model(ram="900TiB")})
    assert errors_of(service.chat("huge")) == (507, "insufficient_memory", "false")
    assert service.chat("small").status_code == 200


@pytest.fixture
def adapting(tmp_path):
    """A llama-server without -c and -ngl: it takes what is free but its target, a GiB, and 22.8 GiB at most."""
    program, model = tmp_path / "llama-server", tmp_path / "m.gguf"
    program.write_text(
        f"""#!{sys.executable} -S
import os, sys
sys.path.insert(0, {str(FAKE.parent)!r})
import fake_card
target = int(os.environ.get("LLAMA_ARG_FIT_TARGET", 1024)) << 20
size = min(int(22.8 * (1 << 30)), fake_card.Card(os.environ["FAKE_CARD"]).free(0) - target)
os.execv(sys.executable, [sys.executable, "-S", {str(FAKE)!r}, *sys.argv[1:], "--vram", str(size)])
"""
    )
    program.chmod(0o755)
    _write_llama(model)
    return f"{program} -m {model} --port ${{PORT}}"


def _taken(service):
    """GiB that a took for a request."""
    assert service.chat("a").status_code == 200
    return round(service.journal("vram", "a")[-1]["taken"]["0"] / GIB, 1)


def _measured(service):
    """What explain says of the card, which it looks at for that."""
    return service.http.get("/api/explain/a").json()["memory"]["lines"][-1]


def _unload(service):
    service.wait_until(lambda: claim(service, "a") == int(service.journal("vram", "a")[-1]["taken"]["0"]) >> 30)
    service.http.post("/api/models/unload")
    service.wait_until(lambda: not service.states())


def _is_counted(service):
    """Whether a reading shows the card in use, and by nobody else."""
    (card,) = [row for name, row in pools(service).items() if name != "host"]
    return card["free_bytes"] < 7 * GIB and card["foreign_bytes"] == 0


def _write_llama(path):
    """Llama 3.1 8B as far as its header goes: 8 GiB of weights in one tensor, and a cache of 16 GiB in full."""
    shape = {"block_count": 32, "context_length": 131072, "embedding_length": 4096, "feed_forward_length": 14336}
    heads = {"attention.head_count": 32, "attention.head_count_kv": 8, "vocab_size": 128256}
    keys = [_text("general.architecture") + struct.pack("<I", 8) + _text("llama")]
    keys += [_text(f"llama.{key}") + struct.pack("<II", 4, value) for key, value in (shape | heads).items()]
    tensor = _text("blk.0.ffn_up.weight") + struct.pack("<IQQIQ", 2, 4096, 1 << 20, 1, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + b"".join(keys) + tensor
    path.write_bytes(header)
    os.truncate(path, -(-len(header) // 32) * 32 + (8 << 30))


def _text(value):
    return struct.pack("<Q", len(value)) + value.encode()
