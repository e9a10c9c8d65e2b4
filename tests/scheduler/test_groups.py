"""Who may run beside whom, seen from outside: llama-swap's groups."""

from llama_swap.scheduler.spec import GroupSpec


def test_members_of_a_group_without_swap_stay(play):
    """Swap false: loading one member leaves the others alone."""
    p = play("ab", [GroupSpec("g", ("a", "b"), swap=False)])
    p.loaded("a").loaded("b").arrives(1, "a").expect("grant 1").arrives(2, "b").expect("grant 2")


def test_members_of_a_group_without_swap_load_in_parallel(play):
    """Nothing is in the way of either, so both start at once."""
    p = play("ab", [GroupSpec("g", ("a", "b"), swap=False)])
    p.arrives(1, "a").expect("start a").arrives(2, "b").expect("start b")


def test_an_exclusive_group_empties_the_others(play):
    """All victims have to exit before the start, not only the first."""
    p = play("abc", [GroupSpec("g", ("a", "b"), swap=False, exclusive=False)])
    p.loaded("a").loaded("b").arrives(1, "c").expect("stop a", "stop b").exits("a").exits("b").expect("start c")


def test_a_group_that_is_not_exclusive_touches_nobody(play):
    """Not even an exclusive model that runs already."""
    p = play("ab", [GroupSpec("small", ("b",), exclusive=False)])
    p.loaded("a").loaded("b").arrives(1, "a").expect("grant 1")


def test_a_persistent_group_is_never_evicted_by_others(play):
    """An exclusive model runs beside a persistent one."""
    p = play("ab", [GroupSpec("keep", ("a",), persistent=True)])
    p.loaded("a").loaded("b").arrives(1, "a").expect("grant 1")


def test_members_of_a_persistent_group_still_swap_with_each_other(play):
    """Persistent protects from other groups only."""
    p = play("ab", [GroupSpec("keep", ("a", "b"), persistent=True)])
    p.loaded("a").arrives(1, "b").expect("stop a").exits("a").expect("start b")


def test_eviction_is_all_or_nothing(play):
    """An idle victim stays loaded, and serves, as long as a busy one makes the swap impossible."""
    p = play("abc", [GroupSpec("g", ("a", "b"), swap=False, exclusive=False)])
    p.loaded("a").loaded("b").arrives(1, "b").expect("grant 1").arrives(2, "c")
    p.arrives(3, "a").expect("grant 3").goes(3).goes(1).expect("stop a", "stop b")


def test_disjoint_swaps_run_in_parallel(play):
    """Two groups that do not concern each other swap at the same time."""
    groups = [GroupSpec("g", ("a", "b"), exclusive=False), GroupSpec("h", ("c", "d"), exclusive=False)]
    p = play("abcd", groups).loaded("a").loaded("c")
    p.arrives(1, "b").expect("stop a").arrives(2, "d").expect("stop c")
    p.exits("c").expect("start d").exits("a").expect("start b")


def test_overlapping_swaps_run_one_after_the_other(play):
    """While a is leaving for b nobody else may count on its place."""
    p = play("abc").loaded("a").arrives(1, "b").expect("stop a").arrives(2, "c")
    p.exits("a").expect("start b").ready("b").expect("grant 1").goes(1).expect("stop b").exits("b").expect("start c")


def test_nobody_starts_into_the_way_of_a_swap_in_progress(play):
    """A model that the swap's target would have to evict again waits until the target has run."""
    p = play("abs", [GroupSpec("small", ("s",), exclusive=False)]).loaded("a")
    p.arrives(1, "b").expect("stop a").arrives(2, "s").exits("a").expect("start b", "start s")


def test_a_ready_model_never_waits_for_what_concerns_others(play):
    """A swap among other models, even one that hangs, delays nobody else."""
    p = play("abz", [GroupSpec("keep", ("z",), persistent=True, exclusive=False)])
    p.loaded("z").loaded("a").arrives(1, "b").expect("stop a").at(9).arrives(2, "z").expect("grant 2")
    p.at(10).ticks().expect("kill a").arrives(3, "z").expect("grant 3")
