"""Where memory is not what was thought: floors that are too high, what is not seen, what is declared for the host."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import FAKE
from .test_memory import GIB, claim, errors_of, gib, pools, starts

EXACT = {"use": "fit", "settings": {"fit": {"headroom": 0, "hostHeadroom": 0, "minResidency": 0}}}


@pytest.fixture
def serve(service):
    """``serve(card or None, models)`` starts the service where memory decides."""

    def start(card, models):
        service.write({"models": models, "routing": {"router": EXACT}})
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


def test_memory_of_the_machine_may_be_declared_alone(serve, service):
    """Where there is no device it is all that a model needs."""
    serve(None, {"small": service.model(ram="1GiB"), "huge": service.model(ram="900TiB")})
    assert errors_of(service.chat("huge")) == (507, "insufficient_memory", "false")
    assert service.chat("small").status_code == 200


def _is_counted(service):
    """Whether a reading shows the card in use, and by nobody else."""
    (card,) = [row for name, row in pools(service).items() if name != "host"]
    return card["free_bytes"] < 7 * GIB and card["foreign_bytes"] == 0
