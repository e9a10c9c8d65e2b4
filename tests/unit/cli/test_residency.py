"""Commands about who stays."""

import json

import pytest

from llama_swap.cli import main

HELD = {"holder": "me", "devices": [], "seconds_left": 7200, "because": "a game"}


@pytest.mark.parametrize(
    ("words", "body", "said"),
    [
        ([], b"", ""),
        (["--keep-alive", "2h"], {"keep_alive": 7200.0}, "; it stays for 2h 0m when idle"),
        (["--keep-alive", "-1"], {"keep_alive": -1.0}, "; it stays until it has to leave"),
        (["--keep-alive=0"], {"keep_alive": 0.0}, "; it stays for 0s when idle"),
    ],
)
def test_load_with_a_keep_alive(service, capsys, words, body, said):
    """The wish is sent, and what the service made of it is told."""
    answer = {"msg": "ok", "model": "m"}
    if body:
        answer["keep_alive_seconds"] = body["keep_alive"]
    service.answer("POST /api/models/load/m", answer)
    assert main(["load", "m", *words]) == 0
    assert (json.loads(service.bodies[0]) if body else service.bodies[0]) == body
    assert capsys.readouterr().out.strip().endswith(f" s){said}")


def test_pin_and_unpin(service, capsys):
    """The answer's ID is told, whatever alias was used."""
    service.answer("POST /api/models/pin/org/big", {"model": "org/m"})
    service.answer("POST /api/models/unpin/org/big", {"model": "org/m"})
    assert (main(["pin", "org/big"]), main(["unpin", "org/big"])) == (0, 0)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("pinned org/m: ")
    assert out[1] == "unpinned org/m"


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ([], {"holder": "command line"}),
        (["--for", "1h30m"], {"holder": "command line", "for": 5400.0}),
        (["--as", "gamemode", "--because", "a game"], {"holder": "gamemode", "because": "a game"}),
        (["--gpu", "0", "--gpu", "GPU-b"], {"holder": "command line", "gpu": ["0", "GPU-b"]}),
    ],
)
def test_yield(service, words, body):
    """What is not said is not sent: all devices, until it is ended."""
    service.answer("POST /api/yield", {"yields": [HELD], "stopping": [], "draining": []})
    assert main(["yield", *words]) == 0
    assert json.loads(service.bodies[0]) == body


def test_yield_tells_who_leaves(service, capsys):
    """Idle ones at once, busy ones when they are done."""
    service.answer("POST /api/yield", {"yields": [HELD], "stopping": ["a", "b"], "draining": ["c"]})
    assert main(["yield"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "yielded to me: all devices, for 2h 0m more: a game",
        "  stopped now: a, b",
        "  stopped when they are done, or after yield.drain: c",
    ]


def test_yield_tells_what_it_replaces(service, capsys):
    """The same command without words ends what was asked for with some."""
    before = {"holder": "me", "devices": [{"label": "GPU 0"}], "seconds_left": 7199.2, "because": "a film"}
    answer = {"yields": [HELD], "stopping": [], "draining": [], "replaced": before}
    service.answer("POST /api/yield", answer)
    main(["yield"])
    assert capsys.readouterr().out.splitlines()[1] == (
        "  in place of what me asked for before: GPU 0, for 2h 0m more: a film"
    )


def test_yield_with_nobody_in_the_way(service, capsys):
    """It is said, lest one wait for something."""
    service.answer("POST /api/yield", {"yields": [HELD], "stopping": [], "draining": []})
    main(["yield"])
    assert capsys.readouterr().out.splitlines()[1:] == ["  no model is in the way"]


@pytest.mark.parametrize(
    ("words", "request_line", "answer", "said"),
    [
        ([], "DELETE /api/yield", (["me", "cron"], []), ["no longer yielded to me, cron"]),
        (["--as", "a b"], "DELETE /api/yield?holder=a+b", ([], []), ["nothing was yielded to a b"]),
        ([], "DELETE /api/yield", ([], []), ["nothing was yielded"]),
        (
            ["--as", "cron"],
            "DELETE /api/yield?holder=cron",
            (["cron"], [HELD]),
            ["no longer yielded to cron", "still yielded to me: all devices, for 2h 0m more: a game"],
        ),
    ],
)
def test_end(service, capsys, words, request_line, answer, said):  # noqa: PLR0917 - a table of cases
    """Ending twice is no failure, so that it can stand in a hook."""
    service.answer(request_line, dict(zip(("ended", "yields"), answer, strict=True)))
    assert main(["yield", "--end", *words]) == 0
    assert capsys.readouterr().out.splitlines() == said


def test_refusal_is_shown(service, capsys):
    """A device that is not there: the service's words and status 1."""
    service.answer("POST /api/yield", {"error": {"message": 'gpu: "7" is none of the devices'}}, status=400)
    assert main(["yield", "--gpu", "7"]) == 1
    assert capsys.readouterr().err == 'llama-swap: gpu: "7" is none of the devices\n'


@pytest.mark.parametrize(
    ("words", "mentioned"),
    [
        (["yield", "--for", "soon"], "'soon'"),
        (["yield", "--for", "0"], "more than 0"),
        (["yield", "--for=-1h"], "more than 0"),
        (["yield", "--end", "--for", "2h"], "--for"),
        (["yield", "--end", "--gpu", "0"], "only --as"),
        (["yield", "--end", "--because", "x"], "only --as"),
        (["load", "m", "--keep-alive", "soon"], "'soon'"),
        (["pin"], "MODEL"),
    ],
)
def test_wrong_usage(service, capsys, words, mentioned):
    """Status 2, the word in question, and nothing is asked of the service."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert mentioned in capsys.readouterr().err
    assert service.asked == []
