"""Everything at once on a made-up machine: requests, kills from outside, another program, yields. Nothing may break."""

import os
import random
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

REQUESTS = 80
SIZES = {"a": 10, "b": 9, "c": 8, "d": 11, "e": 20, "f": 30}
EXPLAINED = {
    "insufficient_memory",
    "devices_yielded",
    "out_of_memory",
    "model_start_failed",
    "service_unavailable",
    "bad_gateway",
}


def ask(service, name, *, delay):
    """One request; the code of its error, "ok" for an answer. Who was refused does not come back at once."""
    answer = service.chat(name, fake={"delay": delay})
    if answer.status_code == 200:
        return "ok"
    threading.Event().wait(0.3)
    return answer.json()["error"]["code"]


def kill_one(service, dice):
    """A model is killed from outside."""
    alive = [row["pid"] for row in service.journal("start") if row["pid"] in service.leftovers()]
    if alive:
        os.kill(dice.choice(alive), signal.SIGKILL)


def play_a_game(card, dice):
    """Another program takes part of a card for a moment."""
    gpu = dice.randrange(2)
    size = min(dice.choice((2, 4, 8)), card.free(gpu))
    if size < 1:
        return
    try:
        game = card.foreign(**{f"gpu{gpu}": int(size)})
    except AssertionError:  # a model was quicker
        return
    threading.Event().wait(dice.uniform(0.05, 0.3))
    game.kill()
    game.wait(10)


def yield_briefly(service, dice):
    """Somebody wants a card and gives it back."""
    service.http.post("/api/yield", json={"holder": "me", "gpu": dice.randrange(2)})
    threading.Event().wait(dice.uniform(0.05, 0.2))
    service.http.delete("/api/yield", params={"holder": "me"})


EVENTS = [kill_one] * 8 + [play_a_game] * 8 + [yield_briefly] * 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm(service, card, seed):
    """Each request has an answer with a reason; at the end every byte is free and the service has no error."""
    machine, dice = card(24, 12), random.Random(seed)
    models = {
        name: service.model(f"--vram {size}GiB --vram-release 0.1 --load-seconds 0.05", vram=f"{size}GiB")
        for name, size in SIZES.items()
    }
    settings = {"headroom": 0, "hostHeadroom": 0, "minResidency": 0}
    service.write(
        {"models": models, "routing": {"router": {"use": "fit", "settings": {"fit": settings}}}, "yield": {"drain": 1}}
    )
    service.start(env=machine.env)
    wanted = dice.choices([*SIZES], k=REQUESTS)
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(ask, service, name, delay=dice.uniform(0, 0.05)) for name in wanted]
        for event in dice.sample(EVENTS, len(EVENTS)):
            event(machine if event is play_a_game else service, dice)
        reasons = Counter(answer.result() for answer in answers)
    assert set(reasons) <= {"ok", *EXPLAINED}, reasons
    assert reasons["ok"] >= REQUESTS // 3, reasons
    service.http.post("/api/models/unload")
    service.wait_until(lambda: (machine.free(0), machine.free(1)) == (24, 12))
    assert "level=error" not in service.output()
    assert service.stop() == 0
