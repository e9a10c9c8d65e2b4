"""Memory in words."""

from llama_swap.cli import main
from llama_swap.cli.memory import account_lines, claims, footer

GIB = 1024**3
POOL = {"label": "GPU 0 (RTX 3090)", "total_bytes": 24 * GIB, "free_bytes": 5 * GIB, "promised_bytes": 18 * GIB}
POOLS = [
    {**POOL, "foreign_bytes": 512 * 1024**2, "available_bytes": 4.5 * GIB},
    {**POOL, "label": "memory of the machine", "foreign_bytes": None, "available_bytes": 0},
]
NEED = {"source": "learned", "device_bytes": 18 * GIB, "host_bytes": GIB, "parts": [], "load_seconds": 4.0}
ACCOUNT = {
    "need": NEED,
    "devices": [{"pool": "GPU-a", "label": "GPU 0"}],
    "lines": ["needs 18 GiB", "GPU 0: 24 GiB"],
    "fits": True,
}


def test_load_times_show_the_gain_of_reading_ahead():
    """Where there was a start with and one without."""
    need = {**ACCOUNT["need"], "load_seconds": 41.0}
    for ahead, told in ((12.0, ", 12.0 s when its file was read ahead"), (None, ""), (41.0, "")):
        *_, line = account_lines({**ACCOUNT, "need": {**need, "ahead_seconds": ahead}})
        assert line == f"  took 41.0 s to load lately{told}"


def test_claims_of_a_model():
    """Pool by pool; where nothing is held there is nothing to say."""
    memory = [
        {"label": "GPU 0", "bytes": 18 * GIB},
        {"label": "host", "bytes": 700 * 1024**2},
        {"label": "GPU 1", "bytes": 0},
    ]
    assert claims({"memory": memory}) == "GPU 0 18.0 GiB, host 700 MiB"
    assert claims({"memory": []}) == claims({}) == ""


def test_footer():
    """The pools as a table, then who yields, what is wrong with the figures, and what decides."""
    held = [
        {"holder": "gamemode", "devices": [], "seconds_left": None, "because": "a game"},
        {"holder": "cron", "devices": [{"label": "GPU 1"}], "seconds_left": 90.0, "because": ""},
    ]
    status = {"memory": {"pools": POOLS, "problem": "old"}, "yields": held, "router": "fit"}
    assert list(footer(status)) == [
        "",
        "MEMORY                 TOTAL     FREE     MODELS    OTHERS   AVAILABLE",
        "GPU 0 (RTX 3090)       24.0 GiB  5.0 GiB  18.0 GiB  512 MiB  4.5 GiB",
        "memory of the machine  24.0 GiB  5.0 GiB  18.0 GiB           0",
        "",
        "yielded to gamemode: all devices, until it ends: a game",
        "yielded to cron: GPU 1, for 1m 30s more",
        "memory: old",
        "router: fit",
    ]


def test_old_figures():
    """How old they are is said where the service could not look."""
    status = {"memory": {"pools": [], "age_seconds": 75.2, "problem": "the driver does not answer"}}
    assert list(footer(status)) == ["", "memory: these figures are 1m 15s old", "memory: the driver does not answer"]
    assert list(footer({"memory": {"pools": [], "age_seconds": 0.9, "problem": ""}})) == []


def test_footer_of_a_service_that_knows_nothing_of_memory():
    """The original llama-swap, or one from before."""
    assert list(footer({})) == []
    assert list(footer({"memory": {"pools": [], "problem": ""}, "yields": [], "router": "group"})) == [
        "",
        "router: group",
    ]


def test_account():
    """The sums in the service's words, where it goes, and how long it takes."""
    assert list(account_lines(ACCOUNT)) == [
        "  needs 18 GiB",
        "  GPU 0: 24 GiB",
        "  goes to GPU 0",
        "  took 4.0 s to load lately",
    ]


def test_account_of_what_nobody_knows():
    """A model that never ran and whose file says nothing; why not, where that is known."""
    need = {"source": "unknown", "load_seconds": None, "parts": [{"what": "no model file in its command", "bytes": 0}]}
    account = {"need": need, "devices": [], "lines": []}
    (line,) = account_lines(account)
    assert line == "  nobody knows what it needs (no model file in its command): it runs alone the first time"
    (line,) = account_lines({**account, "need": {**need, "parts": []}})
    assert line == "  nobody knows what it needs: it runs alone the first time"
    assert list(account_lines({**account, "need": need, "fits": False})) == []


def test_explain_shows_the_account(service, capsys):
    """Below the outcome and the victims."""
    answer = {"selector": None, "model": "a", "outcome": "starts", "would_stop": [], "waits_for": "", "rule": None}
    service.answer("GET /api/explain/a", {**answer, "refusal": None, "memory": ACCOUNT})
    assert main(["explain", "a"]) == 0
    assert capsys.readouterr().out.splitlines() == ["a starts at once", *account_lines(ACCOUNT)]


def test_explain_does_not_say_the_sum_twice(service, capsys):
    """The message of a refusal is the sum that was shown already; another refusal is said in full."""
    refusal = {"reason": "does_not_fit", "message": "m does not fit: needs 18 GiB; GPU 0: 24 GiB"}
    answer = {"selector": None, "model": "a", "outcome": "refused", "would_stop": [], "waits_for": "", "rule": None}
    for fits, said in ((False, "not even if everybody leaves that may"), (True, refusal["message"])):
        service.answer("GET /api/explain/a", {**answer, "refusal": refusal, "memory": {**ACCOUNT, "fits": fits}})
        main(["explain", "a"])
        assert capsys.readouterr().out.splitlines()[-1] == f"  does_not_fit: {said}"


def test_ps_shows_it_all(service, capsys):
    """Columns for what a model holds and whether it is pinned, and the footer."""
    row = {"id": "m", "state": "ready", "pinned": True, "memory": [{"label": "GPU 0", "bytes": 18 * GIB}]}
    service.answer("GET /api/status", {"models": [row], "memory": {"pools": POOLS[:1]}, "router": "fit"})
    assert main(["ps"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "MODEL  STATE  PINNED  MEMORY",
        "m      ready  yes     GPU 0 18.0 GiB",
        "",
        "MEMORY            TOTAL     FREE     MODELS    OTHERS   AVAILABLE",
        "GPU 0 (RTX 3090)  24.0 GiB  5.0 GiB  18.0 GiB  512 MiB  4.5 GiB",
        "",
        "router: fit",
    ]
