"""Any configuration of the scheduler, and its rules worked out a second time.

Strategies are made once: to make them anew for each draw took two thirds of the time.
"""

from functools import cache

from hypothesis import strategies as st
from matrices import are_allowed_together, matrices

from llama_swap.scheduler.spec import GroupSpec, Limits, ModelSpec, SchedulerSpec

MODELS = "abcde"
SWITCHES = st.tuples(st.booleans(), st.booleans(), st.booleans())
MEMBERSHIPS = st.sampled_from(["", "g", "h"])


@st.composite
def specs(draw):
    """Any configuration of five models, half of them with a matrix."""
    names = draw(st.sets(st.sampled_from(MODELS), min_size=1))
    members = {name: draw(MEMBERSHIPS) for name in sorted(names)}
    groups = [
        GroupSpec(group, tuple(m for m, g in members.items() if g == group), *draw(SWITCHES))
        for group in sorted({g for g in members.values() if g})
    ]
    matrix = draw(perhaps_a_matrix(tuple(sorted(names))))
    return SchedulerSpec({name: draw(model_specs(name)) for name in members}, tuple(groups), draw(limits()), matrix)


@cache
def perhaps_a_matrix(names):
    """None, or any matrix of these models."""
    return st.none() | matrices(names, most_sets=2)


@cache
def model_specs(name):
    """Any settings of one model; two fingerprints, so that a reload changes some."""
    return st.builds(
        ModelSpec,
        model=st.just(name),
        fingerprint=st.sampled_from(["v1", "v2"]),
        ttl_seconds=st.sampled_from([0.0, 3.0, 30.0]),
        start_timeout_seconds=st.sampled_from([0.0, 5.0, 60.0]),
        stop_grace_seconds=st.sampled_from([0.0, 2.0, 20.0]),
        concurrency_limit=st.sampled_from([0, 0, 1, 3]),
        priority=st.sampled_from([0, 0, 0, 1, 10]),
    )


@cache
def limits():
    """Any bounds; mostly ones that let things happen."""
    return st.builds(
        Limits,
        max_wait_seconds=st.sampled_from([0.0, 4.0, 10.0]),
        queue_limit=st.sampled_from([0, 0, 2]),
        queue_timeout_seconds=st.sampled_from([0.0, 0.0, 12.0]),
        backoff_after_failures=st.sampled_from([0, 1, 2]),
        backoff_first_seconds=st.just(2.0),
        backoff_max_seconds=st.just(5.0),
    )


def may_start(spec, target, running):
    """Whether nobody of those that run has to leave for the target."""
    if spec.matrix is not None:
        return are_allowed_together(spec.matrix, {target, *running})
    return not any(must_leave(spec, target, model) for model in running if model != target)


def must_leave(spec, target, model):
    """LS 1.5, written a second time: whether ``model`` may not run when ``target`` starts."""
    of = {m: g for g in spec.groups for m in g.members}
    mine, theirs = of.get(target), of.get(model)
    if mine is theirs:
        return mine is None or mine.swap
    return (mine is None or mine.exclusive) and not (theirs is not None and theirs.persistent)
