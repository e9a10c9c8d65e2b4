"""The targets: days of a desk with modelled cards, decided by memory, beside groups and the least recently used of N.

``python bench/simulation.py`` prints the table of all days with more seeds; here a day has one, and those with a slow
disk are left out.
"""

import functools

import pytest
from simulated import days
from simulated.days import simulate

from llama_swap.scheduler.commands import RejectReason
from llama_swap.scheduler.spec import Limits, YieldSpec

DAYS = {name: day for name, day in days.DAYS.items() if "slow disk" not in name}
FITS = "everything fits (24 + 16 GiB)"
CROWD = "an afternoon without rest (24 GiB)"
GREEDY = "a greedy key (24 GiB)"
WRONG = "wrong figures (24 GiB)"
GAMES = ("a game, seen by itself (24 GiB)", "a game that asks first (24 GiB)")
WITHOUT_GAMES = [day for day in DAYS if day not in GAMES]
ROUNDING_SECONDS = 0.5  # readings and their answers, which the baselines do without


@pytest.fixture(name="score", scope="session")
def _score():
    """``score(kind, day)``: the scores of a day, played once."""
    return functools.cache(lambda kind, day: simulate(kind, DAYS[day]))


def turn_seconds(day):
    """The longest time between the claim of a place and the end of the first request that is served there."""
    machine = day.machine
    load = machine.launch_seconds + max(model.weights for model in day.models.values()) / machine.disk
    return day.longest_request + machine.stop_seconds + machine.lag[1] + load + ROUNDING_SECONDS


def bound_seconds(day):
    """What no wait exceeds: the maximum wait, the turn of a model that comes before, and the own turn."""
    return Limits().max_wait_seconds + 2 * turn_seconds(day)


def test_models_that_fit_are_started_once_or_so(score):
    """At least 60 % fewer starts than groups need where the set fits; in truth nearly none."""
    assert score("fit", FITS).start_count <= 0.4 * score("group", FITS).start_count
    assert score("fit", FITS).start_count <= 2 * len(DAYS[FITS].models)


@pytest.mark.parametrize("day", [day for day in DAYS if day not in (CROWD, GREEDY)])
def test_fewer_starts_than_with_groups(score, day):
    """Also where not everything fits, what fits stays; unless more is asked than can be served, where waits count."""
    assert score("fit", day).starts_per_hour < score("group", day).starts_per_hour


@pytest.mark.parametrize("day", [day for day in DAYS if day != GREEDY])
def test_no_kind_of_client_waits_longer_than_with_groups(score, day):
    """The slow twentieth of each; where no two models fit together both do the same."""
    fit, group = score("fit", day), score("group", day)
    slower = {k: (fit.percentile(0.95, k), group.percentile(0.95, k)) for k in fit.waits}
    assert all(ours <= theirs for ours, theirs in slower.values()), slower


@pytest.mark.parametrize("day", DAYS)
def test_waits_are_no_longer_than_with_the_least_recently_used(score, day):
    """Where limiting by number starves somebody, few are asked of whom it does: there the longest waits tell."""
    fit, lru = score("fit", day), score("lru", day)
    starves = lru.worst > bound_seconds(DAYS[day])
    assert fit.percentile(0.95) <= lru.percentile(0.95) or starves
    assert fit.worst <= max(lru.worst, bound_seconds(DAYS[day]))


def test_a_crowd_starves_nobody(score):
    """A batch job that never rests keeps everybody else out where only idle models leave; here they take turns."""
    fit, lru = score("fit", CROWD), score("lru", CROWD)
    assert lru.worst > 10 * fit.worst
    assert all(fit.percentile(0.95, kind) < lru.percentile(0.95, kind) for kind in ("home", "chat"))


def test_fair_shares_spare_those_who_ask_for_little(score):
    """A key that keeps two models busy lets the one before that needs a third now and then, and loses nothing by it."""
    fair = score("fit", GREEDY)
    alike = simulate("fit", DAYS[GREEDY], limits=Limits(fair_share_seconds=0.0))
    mean = {
        key: [sum(s.caller_waits[key]) / len(s.caller_waits[key]) for s in (fair, alike)] for key in fair.caller_waits
    }
    assert mean["modest"][0] < 0.7 * mean["modest"][1]
    assert mean["greedy"][0] < 1.1 * mean["greedy"][1]


@pytest.mark.parametrize("day", DAYS)
def test_every_wait_is_bounded(score, day):
    """No wait is longer than the bound, however busy the day."""
    assert score("fit", day).worst <= bound_seconds(DAYS[day])


@pytest.mark.parametrize("day", WITHOUT_GAMES)
def test_nobody_is_turned_away(score, day):
    """Each model fits alone, so each request is served."""
    assert score("fit", day).turned_away == 0


@pytest.mark.parametrize("day", [day for day in DAYS if day != WRONG])
def test_memory_never_runs_out(score, day):
    """With right figures no process dies of too little memory, although it comes back late."""
    assert score("fit", day).out_of_memory == 0


def test_wrong_figures_are_survived(score):
    """A model that takes more than declared dies of it once at most, and then it is known."""
    assert score("fit", WRONG).out_of_memory <= len(DAYS[WRONG].models)


@pytest.mark.parametrize("day", GAMES)
def test_a_game_has_its_memory_soon(score, day):
    """Idle models go at once, busy ones after their request: no answer is cut, and only the yield refuses."""
    fit, machine = score("fit", day), DAYS[day].machine
    longest = YieldSpec().drain_seconds + machine.stop_seconds + machine.lag[1] + 3.0  # a reading every 2 s
    assert fit.game_waits
    assert max(fit.game_waits) <= longest
    assert set(fit.refused) == {RejectReason.YIELDED}
    assert fit.failed == 0


def test_limiting_by_number_lets_a_game_wait(score):
    """The baselines know nothing of it, or the targets above would say little."""
    for day in GAMES:
        assert max(score("lru", day).game_waits) > 2 * max(score("fit", day).game_waits)
        assert score("lru", day).out_of_memory > 0
