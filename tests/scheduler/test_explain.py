"""What is said about a request before it comes; that it then happens is checked in test_properties."""

from llama_swap.scheduler import Departure, Explanation, Outcome, RuleKind
from llama_swap.scheduler.commands import RejectReason
from llama_swap.scheduler.policy.ruling import Ruling
from llama_swap.scheduler.spec import GroupSpec

ALONE = Ruling(RuleKind.GROUP, ("a",), "(default)", "swap: true, exclusive: true, persistent: false")


def test_a_ready_model(play):
    """Nothing has to happen."""
    assert play("a").loaded("a").explain("a") == Explanation("a", Outcome.SERVED)


def test_a_free_machine(play):
    """It starts at once, and the request waits for that."""
    said = play("a").explain("a")
    assert (said.outcome, said.would_start, said.would_stop) == (Outcome.STARTS, True, ())
    assert (said.waits_for, said.position) == ("a is loading", 1)
    assert said.rule.victims == ()


def test_an_idle_model_in_the_way(play):
    """It is stopped now."""
    assert play("ab").loaded("a").explain("b") == Explanation(
        "b",
        Outcome.EVICTS,
        would_start=True,
        would_stop=(Departure("a", "b needs the place of a; a is idle"),),
        waits_for="a is stopping",
        rule=ALONE,
        position=1,
    )


def test_a_busy_model_in_the_way(play):
    """It would be stopped, but not now, and so not those beside it either."""
    p = play("abc", [GroupSpec("g", ("a", "c"), swap=False)]).loaded("c")
    p.arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    said = p.explain("b")
    assert (said.outcome, said.waits_for, said.position) == (Outcome.WAITS, "c is idle, a serves 1 request", 1)
    assert said.would_stop == (Departure("c", "c is idle"), Departure("a", "a serves 1 request"))
    assert p.goes(1).explain("b").outcome is Outcome.EVICTS


def test_others_that_wait_come_first(play):
    """The position counts them, and who has a claim is named."""
    p = play("abc").loaded("a").arrives(1, "b").expect("stop a")
    said = p.explain("c")
    assert (said.outcome, said.waits_for, said.position) == (Outcome.WAITS, "b comes first, a is stopping", 2)
    assert said.would_stop == (), "a leaves anyway"
    assert p.explain("b").position == 2


def test_a_model_that_loads(play):
    """No second start; the rule no longer matters."""
    p = play("ab").arrives(1, "a").expect("start a")
    said = p.explain("a")
    assert said == Explanation("a", Outcome.WAITS, waits_for="a is loading", position=2)


def test_its_own_last_run_is_still_stopping(play):
    """It waits for itself, and stops nobody."""
    p = play("a").loaded("a").unloads("a").expect("stop a")
    said = p.explain("a")
    assert (said.outcome, said.would_start, said.would_stop) == (Outcome.WAITS, True, ())
    assert said.waits_for == "a is stopping"


def test_its_own_last_run_still_serves(play):
    """A reload has changed it, so it goes for that and not for the request."""
    p = play("a").arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.reloads(p.changed("a", fingerprint="v2")).expect()
    said = p.explain("a")
    assert (said.would_start, said.would_stop, said.waits_for) == (True, (), "a serves 1 request")


def test_what_leaves_by_itself_at_this_moment(play):
    """Its idle time is over, so nobody stops it for the request."""
    p = play("ab", ttl_seconds=5).loaded("a").at(5)
    said = p.explain("b")
    assert (said.outcome, said.would_stop, said.waits_for) == (Outcome.WAITS, (), "a is stopping")
    p.ticks().expect("stop a")


def test_a_refusal(play):
    """With what the client would be told."""
    p = play("a", concurrency_limit=1, limits={"backoff_after_failures": 1})
    assert p.explain("nobody").refusal.reason is RejectReason.MODEL_UNKNOWN
    p.arrives(1, "a").expect("start a")
    assert p.explain("a").refusal.reason is RejectReason.CONCURRENCY_LIMIT
    p.exits("a").expect("reject 1 start_failed")
    said = p.explain("a")
    assert (said.outcome, said.refusal.reason) == (Outcome.REFUSED, RejectReason.BACKING_OFF)
    assert p.at(1).explain("a").outcome is Outcome.STARTS


def test_a_set_and_its_cost(play):
    """The rule names the set, its expression and the cost of who must leave."""
    matrix = {"sets": {"s": "(a|b) & v"}, "evict_costs": {"a": 7}}
    p = play("abvx", matrix=matrix).loaded("a").loaded("v", 1001)
    assert p.explain("b").rule == Ruling(RuleKind.MATRIX, ("a",), "s", "(a|b) & v", 7)
    assert p.explain("b").would_stop == (Departure("a", "b needs the place of a; a is idle"),)
    assert {departure.model for departure in p.explain("x").would_stop} == {"a", "v"}


def test_asking_leaves_no_trace(play):
    """Neither in the state nor in the story."""
    p = play("ab").loaded("a")
    before = p.scheduler._state.copy(), p.scheduler.recording(), p.scheduler.story("b")
    p.explain("b")
    assert (p.scheduler._state.copy(), p.scheduler.recording(), p.scheduler.story("b")) == before
    p.arrives(1, "b").expect("stop a")
