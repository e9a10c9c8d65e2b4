"""What people are told where memory decides: explain, ps, refusals, yields; with a driver that is ours."""

import re
from pathlib import Path

import pytest

from llama_swap.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "memory.md"


@pytest.fixture
def told(service, card, capsys):
    """Starts a service with models of so many GiB on a machine with two GPUs; the result runs a client command."""

    def start(sizes, *gpus, **top):
        machine = card(*(gpus or (24, 12)))
        models = {name: service.model(f"--vram {size}GiB", vram=f"{size}GiB") for name, size in sizes.items()}
        service.write({"models": models, **top})
        service.start(env=machine.env)

        def run(*words):
            capsys.readouterr()
            main([*words, "--url", f"http://127.0.0.1:{service.port}"])
            printed = capsys.readouterr()
            return printed.out + printed.err

        return run

    return start


AT_ONCE = {"routing": {"router": {"settings": {"fit": {"minResidency": 0}}}}}


def test_explain_says_where_a_model_goes_before_it_ever_ran(told):
    """The need with its source, the sum of each device, and the smallest one on which it fits."""
    run = told({"coder": 18, "chat": 9})
    said = run("explain", "coder").splitlines()
    assert said[0] == "coder starts at once"
    (need,) = [line for line in said if line.startswith("  needs 18.0 GiB")]
    assert "declared in the configuration" in need
    assert "  goes to GPU 0" in said
    assert "  goes to GPU 1" in run("explain", "chat").splitlines()


def test_explain_says_who_leaves_and_so_it_happens(service, told):
    """Two that fit stay together; what a third would stop is what it then stops."""
    run = told({"coder": 18, "chat": 9, "other": 14}, **AT_ONCE)
    assert [service.chat(name).status_code for name in ("coder", "chat")] == [200, 200]
    assert service.states() == {"coder": "ready", "chat": "ready"}
    said = run("explain", "other").splitlines()
    assert said[0] == "other starts as soon as others are stopped"
    assert [line.split(":")[0] for line in said if "stops" in line] == ["  stops coder"]
    assert service.chat("other").status_code == 200
    assert service.states() == {"chat": "ready", "other": "ready"}


def test_what_was_measured_counts_more_than_what_was_declared(service, told):
    """After its first run the need is what it took."""
    run = told({"chat": 9})
    service.chat("chat")
    service.wait_until(lambda: "GPU 1 9.0 GiB" in run("ps"))
    service.http.post("/api/models/unload")
    assert "measured while it ran" in run("explain", "chat")


def test_model_that_cannot_fit_is_refused_at_once_with_the_sum(service, told):
    """507, not to be tried again, and nobody had to leave for it."""
    run = told({"coder": 18, "huge": 40}, **AT_ONCE)
    service.chat("coder")
    answer = service.chat("huge")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (507, "false")
    error = answer.json()["error"]
    assert error["code"] == "insufficient_memory"
    assert all(part in error["message"] for part in ("huge", "40.0 GiB", "GPU 0", "GPU 1"))
    assert service.states() == {"coder": "ready"}
    assert len(service.journal("start")) == 1
    assert "a request for huge is refused" in run("explain", "huge")


def test_ps_shows_who_has_what(service, told):
    """Each model's part of each device, the devices themselves, and what decides."""
    run = told({"coder": 18, "chat": 9})
    service.chat("coder")
    service.chat("chat")
    service.wait_until(lambda: "GPU 1 9.0 GiB" in run("ps"))
    said = run("ps")
    assert "GPU 0 18.0 GiB" in said
    assert "GPU 0 (Test GPU)" in said
    assert said.splitlines()[-1] == "router: fit"


def test_yield_of_one_device_leaves_the_others(service, told):
    """Who is on it leaves, who fits elsewhere goes there, who fits nowhere else is refused until it is over."""
    run = told({"coder": 18, "chat": 9, "small": 2}, **AT_ONCE)
    service.chat("coder")
    service.chat("chat")
    said = run("yield", "--gpu", "0", "--because", "a game").splitlines()
    assert said == ["yielded to command line: GPU 0, until it ends: a game", "  stopped now: coder"]
    service.wait_until(lambda: service.states() == {"chat": "ready"})
    refused = service.chat("coder")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "devices_yielded")
    assert service.chat("small").status_code == 200
    assert "GPU 1 2.0 GiB" in run("ps")
    run("yield", "--end")
    assert service.chat("coder").status_code == 200


def test_yield_of_a_device_that_is_not_there(service, told):
    """It is told which there are."""
    run = told({"chat": 9})
    service.chat("chat")
    said = run("yield", "--gpu", "2")
    assert '"2" is none of the devices' in said
    assert "0 (GPU 0 (Test GPU), GPU-" in said


def test_example_of_the_page(service, told):
    """docs/memory.md shows what `explain` really prints; only what a start cost differs from run to run."""
    (shown,) = re.findall(r"^\$ llama-swap explain writer\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    run = told({"coder": 18, "chat": 9, "writer": 14}, **AT_ONCE)
    service.chat("coder")
    service.chat("chat")
    cost = re.compile(r"\(cost [0-9.]+\)")
    assert cost.sub("(cost N)", run("explain", "writer")) == cost.sub("(cost N)", shown)
