"""Memory decides, through the real command: fake servers really take the memory of a made-up card.

The service reads the card through the real nvidia-ml-py and a stand-in for the driver's library; every figure that it
goes by is what the servers took.
"""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from .conftest import FAKE

GIB = 1 << 30
EXACT = {"headroom": 0, "hostHeadroom": 0, "minResidency": 0}


def gib(size, **flags):
    """Flags of a server that takes so many GiB."""
    more = (f"--{name.replace('_', '-')} {value}" for name, value in flags.items())
    return " ".join((f"--vram {size}GiB", *more))


@pytest.fixture
def serve(service):
    """``serve(card, models, ...)`` starts the service on that machine; memory decides unless the keys say otherwise."""

    def start(card, models, *, fit=None, **top):
        router = {"use": "fit", "settings": {"fit": {**EXACT, **(fit or {})}}}
        service.write({"models": models, "routing": {"router": router}, **top})
        service.start(env=card.env)
        service.wait_until(lambda: pools(service))
        return service

    return start


@pytest.fixture
def llama_server(tmp_path):
    """The fake server under a name that is known to read GGUF files."""
    program = tmp_path / "llama-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {FAKE} "$@"\n')
    program.chmod(0o755)
    return program


def pools(service):
    """{pool: its row} of /api/status, once it has been measured."""
    return {row["pool"]: row for row in service.http.get("/api/status").json()["memory"]["pools"]}


def claim(service, model):
    """GiB that a model is known to have on devices."""
    rows = service.http.get("/api/status").json()["models"]
    (memory,) = (row.get("memory", []) for row in rows if row["id"] == model)
    return sum(part["bytes"] for part in memory if part["pool"] != "host") >> 30


def vram(service, name):
    """What a server took at last: {GPU: GiB}, and what it could see."""
    row = service.journal("vram", name)[-1]
    return {int(gpu): taken >> 30 for gpu, taken in row["taken"].items()}, row["seen"]


def starts(service, *names):
    """How often each was started."""
    return [len(service.journal("start", name)) for name in names]


def figure(service, series):
    """A value of the page of metrics; None where there is no such series."""
    for line in service.http.get("/metrics").text.splitlines():
        if line.startswith(f"{series} "):
            return float(line.rpartition(" ")[2])
    return None


def errors_of(answer):
    """Status, code, and whether the client shall try again."""
    return answer.status_code, answer.json()["error"]["code"], answer.headers.get("x-should-retry")


def test_without_groups_memory_decides(service, card):
    """The default on a machine with a card: what fits runs side by side, without a word of configuration about it."""
    service.write({"models": {"a": service.model(gib(10), vram="10GiB"), "b": service.model(gib(8), vram="8GiB")}})
    machine = card(24)
    service.start(env=machine.env)
    for name in "abab":
        assert service.echo(name)["name"] == name
    assert service.states() == {"a": "ready", "b": "ready"}
    assert starts(service, "a", "b") == [1, 1]
    assert machine.free() == 6


def test_the_cheapest_leaves_when_a_third_comes(serve, service, card):
    """Only as many as it takes; the one used last and most stays."""
    sizes = {"a": 8, "b": 8, "c": 10}
    serve(card(24), {name: service.model(gib(size), vram=f"{size}GiB") for name, size in sizes.items()})
    for name in ("a", "b", "b", "b"):
        service.echo(name)
    service.echo("c")
    assert service.states() == {"b": "ready", "c": "ready"}
    assert service.journal("exit", "a")


def test_r11_the_next_start_waits_until_the_memory_is_back(serve, service, card):
    """A driver that cleans up for most of a second after the exit: the next model starts only then, and gets it all."""
    machine = card(24)
    serve(machine, {n: service.model(gib(20, vram_release=0.8), vram="20GiB") for n in "ab"})
    service.echo("a")
    service.echo("b")
    assert service.states()["b"] == "ready"  # what a still gives back by then is more than b needs
    assert not service.journal("out-of-memory")
    assert service.journal("start", "b")[0]["t"] - service.journal("exit", "a")[0]["t"] > 0.4
    assert machine.free() == 4


def test_r11_holds_for_groups_too(service, card):
    """Where groups decide, a swap waits for the memory in the same way."""
    machine = card(24)
    router = {"use": "group"}
    service.write(
        {"models": {n: service.model(gib(20, vram_release=0.8)) for n in "ab"}, "routing": {"router": router}}
    )
    service.start(env=machine.env)
    service.wait_until(lambda: pools(service))
    service.echo("a")
    service.wait_until(lambda: claim(service, "a") == 20)
    service.echo("b")
    assert not service.journal("out-of-memory")


def test_a_game_that_starts_while_a_model_leaves(service, card):
    """What it takes is not waited for as if the model had it still."""
    machine = card(24)
    router = {"use": "group", "settings": {"fit": {"releaseTimeout": 600}}}
    service.write({"models": {n: service.model(gib(16, vram_release=2)) for n in "ab"}, "routing": {"router": router}})
    service.start(env=machine.env)
    service.wait_until(lambda: pools(service))
    service.echo("a")
    service.wait_until(lambda: claim(service, "a") == 16)
    with ThreadPoolExecutor() as client:
        answer = client.submit(service.echo, "b")
        service.wait_until(lambda: service.journal("exit", "a"))
        machine.foreign(gpu0=7)
        assert answer.result()["name"] == "b"
    assert not service.journal("out-of-memory")


def test_nothing_is_held_when_nobody_is_there(serve, service, card):
    """After its idle time a model is gone with every byte; the service itself never made a CUDA context."""
    machine = card(24)
    serve(machine, {"a": service.model(gib(20, vram_release=0.2), vram="20GiB", ttl=1)})
    service.echo("a")
    assert machine.free() == 4
    service.wait_until(lambda: machine.free() == 24)
    service.wait_until(lambda: service.states() == {})
    maps = Path(f"/proc/{service.process.pid}/maps").read_text()
    assert "libnvidia-ml.so.1" in maps
    assert "libcuda" not in maps


def test_the_smallest_device_that_fits_is_chosen(serve, service, card):
    """And the process sees no other."""
    machine = card(24, 12)
    serve(machine, {"small": service.model(gib(5), vram="5GiB"), "big": service.model(gib(20), vram="20GiB")})
    service.echo("small")
    service.echo("big")
    assert vram(service, "small") == ({1: 5}, machine.uuids[1])
    assert vram(service, "big") == ({0: 20}, machine.uuids[0])


def test_a_model_larger_than_a_device_is_split(serve, service, card):
    """Over as few as it takes, in proportion to what is free."""
    machine = card(24, 24, 8)
    serve(machine, {"huge": service.model(gib(40), vram="40GiB"), "a": service.model(gib(6), vram="6GiB")})
    service.echo("huge")
    taken, seen = vram(service, "huge")
    assert taken == {0: 20, 1: 20}
    assert seen == ",".join(machine.uuids[:2])
    service.echo("a")
    assert service.states() == {"a": "ready", "huge": "ready"}


def test_a_command_that_names_its_device_keeps_it(serve, service, card):
    """CUDA_VISIBLE_DEVICES of the model is not ours to change."""
    machine = card(24, 12)
    env = [f"CUDA_VISIBLE_DEVICES={machine.uuids[0]}"]
    serve(machine, {"a": service.model(gib(5), vram="5GiB", env=env)})
    service.echo("a")
    assert vram(service, "a") == ({0: 5}, machine.uuids[0])


def wrapper(tmp_path, script):
    """The fake server behind a shell script."""
    program = tmp_path / "run"
    program.write_text(f'#!/bin/sh\n{script}\nexec {sys.executable} -S {FAKE} "$@"\n')
    program.chmod(0o755)
    return program


def test_a_number_is_the_device_that_is_measured_under_it(serve, service, card, tmp_path):
    """CUDA itself counts the fastest device as 0, and would take the other one for 1."""
    machine = card(24, 12)
    cuda = wrapper(tmp_path, '[ "$CUDA_DEVICE_ORDER" = PCI_BUS_ID ] || export CUDA_VISIBLE_DEVICES=0')
    small = {
        "cmd": f"{cuda} --port ${{PORT}} --name small {gib(10)}",
        "vram": "10GiB",
        "env": ["CUDA_VISIBLE_DEVICES=1"],
    }
    serve(machine, {"small": small, "big": service.model(gib(20), vram="20GiB")})
    service.echo("big")
    service.echo("small")
    assert vram(service, "small")[0] == {1: 10}
    assert sorted(service.states()) == ["big", "small"]


def test_where_a_model_was_seen_counts_more_than_a_number(serve, service, card, tmp_path):
    """A command that counts in an order of its own loads on the wrong device once, and is planned for there later."""
    machine = card(24, 12)
    own = wrapper(tmp_path, "export CUDA_VISIBLE_DEVICES=0")
    small = {
        "cmd": f"{own} --port ${{PORT}} --name small {gib(10)}",
        "vram": "10GiB",
        "env": ["CUDA_VISIBLE_DEVICES=1"],
    }
    serve(machine, {"small": small, "big": service.model(gib(20, stop_seconds=0.01), vram="20GiB")})
    service.echo("small")
    service.wait_until(lambda: claim(service, "small") == 10)
    service.echo("big")
    service.echo("small")
    assert service.journal("out-of-memory") == []
    assert starts(service, "small", "big") == [2, 1]


def test_what_cannot_fit_is_refused_with_the_sums(serve, service, card):
    """At once, and nobody is sent away for it; when the other program is gone it can run."""
    machine = card(24)
    game = machine.foreign(gpu0=14)
    serve(machine, {"a": service.model(gib(6), vram="6GiB"), "b": service.model(gib(16), vram="16GiB")})
    service.echo("a")
    answer = service.chat("b")
    assert errors_of(answer) == (507, "insufficient_memory", "false")
    message = answer.json()["error"]["message"]
    assert "16.0 GiB" in message
    assert "14.0 GiB" in message
    assert service.states() == {"a": "ready"}
    game.kill()
    game.wait(10)
    assert service.echo("b")["name"] == "b"


def test_out_of_memory_while_loading_is_tried_once_more(serve, service, card):
    """It needs more than was said: the others leave, and the client that waited never knows."""
    machine = card(24)
    serve(machine, {"a": service.model(gib(16), vram="4GiB"), "b": service.model(gib(10), vram="10GiB")})
    service.echo("b")
    assert service.echo("a")["name"] == "a"
    assert starts(service, "a", "b") == [2, 1]
    assert len(service.journal("out-of-memory", "a")) == 1
    assert service.states() == {"a": "ready"}
    assert figure(service, 'llamaswap_out_of_memory_total{model="a",while="loading"}') == 1
    assert figure(service, 'llamaswap_start_retries_total{model="a"}') == 1


def test_out_of_memory_twice_is_told(serve, service, card):
    """Alone on the machine, and still too large: the client gets the sums and the last words of the process."""
    machine = card(8)
    serve(machine, {"a": service.model(gib(16), vram="4GiB"), "b": service.model(gib(2), vram="2GiB")})
    service.echo("b")
    answer = service.chat("a")
    assert errors_of(answer) == (507, "out_of_memory", "false")
    assert "cudaMalloc failed" in answer.json()["error"]["message"]


def test_r18_out_of_memory_while_serving(serve, service, card):
    """The request is told why, and the next start of the model gets more."""
    machine = card(24)
    models = {"a": service.model(gib(12, vram_grow="7GiB"), vram="12GiB"), "b": service.model(gib(8), vram="8GiB")}
    serve(machine, models)
    service.echo("b")
    service.http.post("/api/models/load/a")
    answer = service.chat("a")
    assert errors_of(answer)[:2] == (507, "out_of_memory")
    service.wait_until(lambda: service.states() == {"b": "ready"})
    need = service.http.get("/api/explain/a").json()["memory"]["need"]
    assert need["device_bytes"] / GIB == pytest.approx(14.4)


def test_r18_out_of_memory_in_the_middle_of_a_stream(service):
    """The last event says why, so that nobody looks for a fault of the network."""
    service.write({"models": {"a": service.model()}})
    service.start()
    script = {"log": "CUDA error: out of memory", "die": 2, "chunk_delay": 0.1}
    received = []
    with service.stream("a", fake=script) as stream, pytest.raises(httpx.RemoteProtocolError):
        received.extend(stream.iter_lines())
    event = json.loads([line for line in received if line][-1].removeprefix("data: "))
    assert event["error"]["code"] == "out_of_memory"
    assert "ran out of memory" in event["error"]["message"]


def test_the_next_model_is_read_ahead(serve, service, card, llama_server):
    """While the one in its place still ends, so that it loads from memory; how long that took is remembered."""
    weights = service.directory / "weights.gguf"
    weights.write_bytes(os.urandom(8 << 20))
    models = {
        "a": service.model(gib(20, stop_seconds=0.5), vram="20GiB"),
        "b": {"cmd": f"{llama_server} -m {weights} --port ${{PORT}} --name b {gib(20)}", "vram": "20GiB"},
    }
    serve(card(24), models)
    service.echo("a")
    assert service.echo("b")["name"] == "b"
    assert figure(service, 'llamaswap_read_ahead_bytes_total{model="b"}') == 8 << 20
    service.stop()
    assert '"ahead_seconds":' in learned(service)


def learned(service):
    """What was written down of earlier runs."""
    return (service.directory / "state" / "llama-swap" / "footprints.json").read_text()


def test_a_model_that_is_killed(serve, service, card):
    """A kill -9 from outside: its memory comes back as with any other end, then it starts again."""
    machine = card(24)
    serve(machine, {"a": service.model(gib(20, vram_release=0.4), vram="20GiB")})
    os.kill(service.echo("a")["pid"], signal.SIGKILL)
    service.wait_until(lambda: service.states().get("a") != "ready")
    assert service.echo("a")["name"] == "a"
    assert not service.journal("out-of-memory")


@pytest.mark.parametrize("how", ["vanishes", "lists_nothing"])
def test_a_driver_that_vanishes(serve, service, card, how):
    """What runs goes on; what starts goes by the books, and nothing is promised twice, until it is measured again."""
    machine = card(24)
    sizes = {"a": 10, "b": 8, "c": 20}
    models = {name: service.model(gib(size), vram=f"{size}GiB") for name, size in sizes.items()}
    serve(machine, models, fit={"releaseTimeout": 1})
    service.echo("a")
    getattr(machine, how)()
    service.wait_until(lambda: problem(service))
    assert service.echo("b")["name"] == "b"
    assert service.states() == {"a": "ready", "b": "ready"}
    service.echo("c")
    assert service.states() == {"c": "ready"}
    assert not service.journal("out-of-memory")
    machine.comes_back()
    service.wait_until(lambda: not problem(service))


def problem(service):
    """Why figures are missing."""
    return service.http.get("/api/status").json()["memory"]["problem"]


def test_what_is_shown_is_measured(serve, service, card):
    """Where nothing runs nobody looks at the devices; whoever asks is told what is free now, not what was."""
    machine = card(24)
    serve(machine, {"a": service.model(gib(10), vram="10GiB")})
    service.wait_until(lambda: pools(service))
    game = machine.foreign(gpu0=15)
    service.wait_until(lambda: figure(service, 'llamaswap_pool_free_bytes{pool="0"}') == 9 * GIB)
    game.kill()
    game.wait(10)
    service.wait_until(lambda: pools(service)[machine.uuids[0]]["foreign_bytes"] == 0)


def test_a_model_of_which_nothing_is_known(serve, service, card):
    """Alone the first time; then it is known what it takes, also after a restart of the service."""
    machine = card(24)
    models = {"a": service.model(gib(10)), "b": service.model(gib(8), vram="8GiB")}
    serve(machine, models)
    service.echo("b")
    service.echo("a")
    assert service.states() == {"a": "ready"}
    service.echo("b")
    service.wait_until(lambda: service.states() == {"a": "ready", "b": "ready"})
    service.stop()
    service.start(env=machine.env)
    service.wait_until(lambda: pools(service))
    service.echo("b")
    service.echo("a")
    assert service.states() == {"a": "ready", "b": "ready"}
    need = service.http.get("/api/explain/a").json()
    assert need["outcome"] == "served"


def test_many_at_once_are_never_promised_more_than_there_is(serve, service, card):
    """Cold requests for models that fit only in part: all are served, and no server ever lacked memory."""
    machine = card(24, 12)
    sizes = {"a": 10, "b": 9, "c": 8, "d": 11, "e": 20}
    slow = {"vram_release": 0.2, "load_seconds": 0.1}
    serve(machine, {name: service.model(gib(size, **slow), vram=f"{size}GiB") for name, size in sizes.items()})
    with ThreadPoolExecutor(10) as clients:
        names = [echo["name"] for echo in clients.map(service.echo, [*sizes] * 4)]
    assert names == [*sizes] * 4
    assert not service.journal("out-of-memory")


def test_yielding_the_card(serve, service, card):
    """Idle models leave at once, requests are told why and when to come back, and afterwards all is as before."""
    machine = card(24)
    serve(machine, {"a": service.model(gib(20), vram="20GiB")})
    service.echo("a")
    answer = service.http.post("/api/yield", json={"holder": "game", "because": "a game"})
    assert answer.json()["stopping"] == ["a"]
    service.wait_until(lambda: machine.free() == 24)
    refused = service.chat("a")
    assert errors_of(refused)[:2] == (503, "devices_yielded")
    assert "a game" in refused.json()["error"]["message"]
    assert int(refused.headers["Retry-After"]) > 0
    service.http.delete("/api/yield", params={"holder": "game"})
    assert service.echo("a")["name"] == "a"


def test_a_game_starts(serve, service, card):
    """Another program leaves less than is wanted free: models make way by themselves and return by themselves."""
    machine = card(24)
    keys = {"yield": {"freeBelow": "4GiB", "returnAfter": 1}}
    serve(machine, {"a": service.model(gib(12, vram_release=0.1), vram="12GiB", pin=True)}, **keys)
    service.echo("a")
    game = machine.foreign(gpu0=10)
    service.wait_until(lambda: service.states() == {})
    assert errors_of(service.chat("a"))[:2] == (503, "devices_yielded")
    game.kill()
    game.wait(10)
    service.wait_until(lambda: service.states() == {"a": "ready"})


def test_a_preload_that_finds_no_room_is_made_later(serve, service, card):
    """A game runs when the service starts."""
    machine = card(24)
    game = machine.foreign(gpu0=15)
    hooks = {"on_startup": {"preload": ["a"]}}
    serve(machine, {"a": service.model(gib(12), vram="12GiB")}, fit={"releaseTimeout": 1}, hooks=hooks)
    service.wait_until(lambda: "preload failed" in service.output())
    assert service.states() == {}
    game.kill()
    game.wait(10)
    service.wait_until(lambda: service.states() == {"a": "ready"})
    assert "a could not be loaded, which is tried again" in service.http.get("/api/story/a").text


def test_the_figures_are_on_the_page(serve, service, card):
    """What there is, what is free, what others use, what models were promised; and how slowly memory came back."""
    machine = card(24)
    machine.foreign(gpu0=2)
    serve(machine, {"a": service.model(gib(10, vram_release=0.2), vram="10GiB", ttl=1)})
    service.echo("a")
    service.wait_until(lambda: figure(service, 'llamaswap_pool_free_bytes{pool="0"}') == 12 * GIB)
    assert figure(service, 'llamaswap_pool_total_bytes{pool="0"}') == 24 * GIB
    assert figure(service, 'llamaswap_pool_foreign_bytes{pool="0"}') == 2 * GIB
    assert figure(service, 'llamaswap_pool_promised_bytes{pool="0"}') == 10 * GIB
    assert figure(service, 'llamaswap_model_claim_bytes{model="a",pool="0"}') == 10 * GIB
    assert figure(service, 'llamaswap_needs_total{model="a",source="declared"}') == 1
    service.wait_until(lambda: figure(service, 'llamaswap_memory_release_seconds_count{model="a"}') == 1)
    assert figure(service, 'llamaswap_pool_free_bytes{pool="0"}') > 19 * GIB, "most of it is back"
