"""Memory decides who runs beside whom."""

import pytest

from llama_swap.scheduler import Outcome, RuleKind, reconcile
from llama_swap.scheduler.events import RequestArrived, RequestGone
from llama_swap.scheduler.memory import Need, NeedSource
from llama_swap.scheduler.placing import placements_of
from llama_swap.scheduler.policy.fit import Plan, place_by_memory
from llama_swap.scheduler.policy.rooms import Room, Site, Wish
from llama_swap.scheduler.policy.seating import Candidate, Occupant, Use
from llama_swap.scheduler.policy.table import Tenant, View


def test_models_that_fit_stay_together(play_fit):
    """The point of it all."""
    p = play_fit({"a": 10, "b": 8}).runs("a", "b")
    assert p.snapshot().rule is RuleKind.FIT
    assert p.claims("a") == {"GPU-0": 10}
    p.arrives(1, "a").expect("grant 1").arrives(2, "b").expect("grant 2")


def test_an_idle_model_leaves_for_one_that_needs_its_place(play_fit):
    """And the newcomer starts when its exit was seen and its memory is back."""
    p = play_fit({"a": 16, "b": 12}).runs("a").arrives(1, "b").expect("stop a").because("b needs the place of a")
    p.exits("a").expect("start b").ready("b").expect("grant 1")


def test_the_cheapest_set_leaves(play_fit):
    """One small idle model is enough, so the large one stays."""
    models = {"a": {"evict_cost": 20.0}, "b": {"evict_cost": 10.0}}
    p = play_fit({"a": 12, "b": 8, "c": 6}, models=models).runs("a", "b").arrives(1, "c").expect("stop b")
    p.exits("b").expect("start c")


def test_nobody_leaves_in_vain(play_fit):
    """If one of them is enough it is one, whichever is cheaper by itself."""
    models = {"a": {"evict_cost": 1.0}, "b": {"evict_cost": 5.0}}
    p = play_fit({"a": 4, "b": 16, "c": 14}, models=models).runs("a", "b").arrives(1, "c").expect("stop b")
    p.exits("b").expect("start c")


def test_busy_models_are_waited_for(play_fit):
    """As everywhere: a swap never cuts a request."""
    p = play_fit({"a": 16, "b": 12}).runs("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    assert p.snapshot().queue[0].blocked_by == "a serves 1 request"
    p.goes(1).expect("stop a").exits("a").expect("start b")


def test_an_idle_one_goes_before_a_busy_one(play_fit):
    """However dear it is to load again."""
    p = play_fit({"a": 12, "b": 12, "c": 12}, models={"b": {"evict_cost": 1e6}}).runs("a", "b")
    p.arrives(1, "a").expect("grant 1").arrives(2, "c").expect("stop b")


def test_an_overdue_waiter_drains_what_is_in_its_way(play_fit):
    """After the maximum wait."""
    p = play_fit({"a": 16, "b": 12}).runs("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.at(10).ticks().arrives(3, "a").goes(1).expect("stop a").exits("a").expect("start b")
    p.ready("b").expect("grant 2").goes(2).expect("stop b").exits("b").expect("start a")


def test_what_never_fits_is_refused_at_once_and_nobody_leaves(play_fit):
    """With the sums."""
    p = play_fit({"a": 10, "b": 30}).runs("a").arrives(1, "b").expect("reject 1 does_not_fit")
    p.message("needs 30.0 GiB (declared in the configuration)", "GPU 0: 24.0 GiB", "at most 24.0 GiB can be had")


def test_pinned_memory_is_not_to_be_had(play_fit):
    """A pinned model counts against what fits."""
    p = play_fit({"a": 10, "b": 20}, models={"a": {"pin": True}}).runs("a")
    p.arrives(1, "b").expect("reject 1 does_not_fit").message("10.0 GiB pinned (a), ", "at most 14.0 GiB")


def test_what_others_use_is_not_to_be_had(play_fit):
    """Foreign memory is inside what is not free."""
    p = play_fit({"a": 20})
    p.machine.foreign[0] = 6
    p.at(6).arrives(1, "a").expect("reject 1 does_not_fit").message("6.0 GiB used by others")


def test_headroom_stays_free(play_fit):
    """It is part of the sum."""
    p = play_fit({"a": 24}, fit={"headroom_bytes": 1})
    p.arrives(1, "a").expect("reject 1 does_not_fit")


def test_what_loads_is_counted_before_it_takes_its_memory(play_fit):
    """Two cold models whose sum does not fit never start together."""
    p = play_fit({"a": 16, "b": 12})
    p.machine.takes["a"] = 0
    p.arrives(1, "a").expect("start a").arrives(2, "b").at(1).ticks()
    p.machine.takes_now("a", 16)
    p.ready("a").expect("grant 1").goes(1).expect("stop a")


def test_two_models_load_at_the_same_time_where_both_fit(play_fit):
    """Nothing waits for nothing."""
    play_fit({"a": 10, "b": 8}).arrives(1, "a").expect("start a").arrives(2, "b").expect("start b")


def test_disjoint_swaps_run_side_by_side(play_fit):
    """Each card has its own."""
    models = {name: {"devices": (device,)} for name, device in zip("abcd", "0101", strict=True)}
    p = play_fit({"a": 20, "b": 20, "c": 20, "d": 20}, gpus=[24, 24], models=models).runs("a", "b")
    p.arrives(1, "c").expect("stop a").arrives(2, "d").expect("stop b").exits("b").expect("start d")
    p.exits("a").expect("start c")


def test_a_victim_leaves_for_one_only(play_fit):
    """Two that come together need two places."""
    models = {"a": {"evict_cost": 1.0}, "b": {"evict_cost": 2.0}}
    p = play_fit({"a": 12, "b": 12, "c": 12, "d": 12}, models=models).runs("a", "b").arrives(1, "c").expect("stop a")
    p.arrives(2, "d").expect("stop b").exits("b").expect("start c").exits("a").expect("start d")


def test_what_starts_in_the_same_step_is_taken_off(play_fit):
    """The other one sees at once that it needs somebody's place."""
    p = play_fit({"x": 10, "c": 14, "d": 10}).runs("x")
    p.answers = False
    p.at(9).arrives(1, "c").expect("assess c", "measure").arrives(2, "d").expect("assess d")
    p.assessed("d", 10).assessed("c", 14).measures().expect("start c", "stop x")


def test_a_later_small_model_does_not_take_what_a_claim_counts_on(play_fit):
    """The claimant needs all of the card, so the small one waits although it would fit now."""
    p = play_fit({"a": 16, "b": 24, "c": 2}).runs("a").arrives(1, "b").expect("stop a").arrives(2, "c")
    assert p.snapshot().queue[1].blocked_by.startswith("b comes first")
    p.exits("a").expect("start b")


def test_a_later_small_model_starts_where_a_claim_leaves_room(play_fit):
    """It fits now, and beside the claimant later."""
    p = play_fit({"a": 16, "b": 20, "c": 2}).runs("a").arrives(1, "b").expect("stop a").arrives(2, "c")
    p.expect("start c").exits("a").expect("start b")


def test_the_measured_peak_takes_the_place_of_what_was_thought(play_fit):
    """A need that was too high blocks nobody for long."""
    p = play_fit({"a": 20, "b": 12})
    p.machine.takes["a"] = 10
    p.runs("a").arrives(1, "b").expect("start b")


def test_a_model_that_grew_counts_with_its_peak(play_fit):
    """What it gave back for now is still its own."""
    p = play_fit({"a": 4, "b": 14}).runs("a")
    p.machine.takes_now("a", 12)
    p.at(6).measures()
    p.machine.takes_now("a", 4)
    p.at(12).measures()
    assert p.claims("a") == {"GPU-0": 12}
    p.arrives(1, "b").expect("stop a")


def test_a_start_waits_for_what_the_model_needs(play_fit):
    """And says so; asked once."""
    p = play_fit({"a": 10})
    p.answers = False
    p.arrives(1, "a").expect("assess a").arrives(2, "a")
    assert p.snapshot().queue[0].blocked_by == "what a needs is being found out"
    p.assessed("a", 10).expect("start a")


def test_each_start_asks_anew(play_fit):
    """The file may be another one by now."""
    p = play_fit({"a": 10}).runs("a").unloads("a").expect("stop a").exits("a")
    p.answers = False
    p.arrives(1, "a").expect("assess a").assessed("a", 30).expect("reject 1 does_not_fit")


def test_an_old_reading_is_not_trusted(play_fit):
    """A start waits for one that began less than a second ago."""
    p = play_fit({"a": 10})
    p.answers = False
    p.at(60).arrives(1, "a").expect("assess a").assessed("a", 10).expect("measure")
    assert p.snapshot().queue[0].blocked_by == "the memory is being measured"
    p.at(63).measured(p.machine.measured(60)).expect("start a")


def test_a_slow_reading_is_asked_for_once(play_fit):
    """The answer counts when it comes, however long it took; one that began before an exit does not."""
    p = play_fit({"a": 16, "b": 12}).runs("a").arrives(1, "b").expect("stop a")
    p.answers = False
    before = p.machine.measured(0)
    p.at(2).exits("a").expect("measure").at(4).measured(before, at=1.5).expect("measure")
    p.at(8).measures().expect("start b")


def test_no_reading_while_nothing_runs(play_fit):
    """An idle service does not wake up."""
    p = play_fit({"a": 10})
    assert p.scheduler.next_deadline() is None
    p.runs("a").wakes(5).wakes(10).unloads("a").expect("stop a").exits("a")
    assert p.scheduler.next_deadline() is None


def test_a_model_of_the_cpu_takes_from_the_host(play_fit):
    """The devices do not matter to it."""
    p = play_fit(
        {"a": 40, "b": 20, "c": 10}, host=64, fit={"host_headroom_bytes": 0}, models={m: {"devices": ()} for m in "ab"}
    )
    p.runs("a", "c").arrives(1, "b").expect("start b")


def test_explain_says_the_sum_and_who_would_leave(play_fit):
    """Before anything happens."""
    p = play_fit({"a": 16, "b": 12}).runs("a").unloads("a").expect("stop a").exits("a").runs("b")
    said = p.explain("a")
    assert (said.outcome, said.waits_for) == (Outcome.WAITS, "what a needs is being found out, b is idle")
    assert [d.model for d in said.would_stop] == ["b"]
    assert (said.rule.kind, said.rule.victims, said.rule.text) == (RuleKind.FIT, ("b",), "GPU 0")
    assert said.memory.fits
    assert said.memory.devices == ("GPU-0",)
    assert "at most 24.0 GiB can be had" in said.memory.lines[1]


@pytest.mark.parametrize("tells_who", [True, False])
def test_a_driver_that_does_not_say_who_has_what(play_fit, tells_who):
    """Then the promises count."""
    p = play_fit({"a": 10, "b": 8, "c": 8}, models={"a": {"evict_cost": 9.0}})
    p.machine.tells_who = tells_who
    p.runs("a", "b").arrives(1, "c").expect("stop b").exits("b").expect("start c")


def test_explain_of_a_model_that_does_not_fit(play_fit):
    """On the reading that was taken for the question, although a request has to wait for one that begins after it."""
    p = play_fit({"a": 10, "b": 30}).runs("a").arrives(1, "b").expect("reject 1 does_not_fit")
    p.at(10).measures().at(10.5)
    said = p.explain("b")
    assert said.outcome is Outcome.REFUSED
    assert not said.memory.fits
    assert "b does not fit" in said.refusal.message


def test_a_pinned_model_that_starts_past_a_waiter_ends_its_wait(play_fit):
    """What it takes never comes back."""
    p = play_fit({"a": 14, "c": 8, "d": 20}, models={"c": {"pin": True}}).runs("a").arrives(1, "a").expect("grant 1")
    p.arrives(2, "d").arrives(3, "c").expect("start c", "reject 2 does_not_fit")


def plan(size, *, cost=0.0, shared=0, takes_all=True):
    """A way to seat a candidate on one device."""
    return Plan(Site(("MIG-0",), {}, shared, takes_all), (), waits=False, cost=cost, size=size, is_alone=takes_all)


def test_a_model_of_which_nothing_is_known_gets_the_most():
    """Whatever that takes: on too small a part of a card (MIG) its start would fail."""
    assert min(plan(-8), plan(-12, cost=3.0), plan(-10), key=lambda plan: plan.order).size == -12
    assert min(plan(-8, shared=1), plan(-12, cost=3.0, shared=1), key=lambda plan: plan.order).size == -8
    assert min(plan(8, takes_all=False), plan(12, takes_all=False), key=lambda plan: plan.order).size == 8
    rooms = {f"MIG-{n}": Room(f"MIG-{n}", "", n, size, size) for n, size in enumerate((8, 12, 10))}
    unknown = Wish(Need(NeedSource.UNKNOWN), is_alone=True)

    def chosen(**tenants):
        view = View(rooms, tenants, {"x": unknown})
        occupants = {name: Occupant(name, Use.IDLE) for name in tenants}
        (placement,) = place_by_memory([Candidate("x", (0.0, 0.0, 0), is_overdue=False)], occupants, view)
        return placement.devices, placement.in_the_way

    assert chosen() == (("MIG-1",), ())
    assert chosen(a=Tenant({"MIG-1": 5}, cost=9.0)) == (("MIG-1",), ("a",))
    assert chosen(a=Tenant({"MIG-1": 5}, is_pinned=True)) == (("MIG-2",), ())


def test_requests_to_a_ready_model_do_not_look_for_victims(play_fit, monkeypatch):
    """While another model waits for its place: who uses it is in the way all the more, and the search takes long."""
    p = play_fit({"a": 20, "b": 10}).runs("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    looks = []
    monkeypatch.setattr(reconcile, "placements_of", lambda state, now: looks.append(now) or placements_of(state, now))
    p.scheduler.handle(RequestArrived(3, "a"), now=0.5)
    p.scheduler.handle(RequestGone(3, served=True), now=0.6)
    assert not looks
    p.at(1).goes(1).expect("stop a").exits("a").expect("start b")
    assert looks
