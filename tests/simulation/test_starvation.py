"""No pattern of traffic keeps a request waiting for longer than a bound that does not depend on how long it lasts."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llama_swap.scheduler.spec import GroupSpec

MAX_WAIT_SECONDS = 10.0
LONGEST_REQUEST_SECONDS = 12.0
LONGEST_SWAP_SECONDS = 21.0  # model a loads for 20 seconds, a stop takes 1
REPEATS = 40

GROUPINGS = [
    (),
    (GroupSpec("g", ("a", "b"), swap=False, exclusive=False),),
    (GroupSpec("g", ("a", "b"), swap=False), GroupSpec("h", ("c",), exclusive=False)),
    (GroupSpec("g", ("b", "c"), exclusive=False, persistent=True),),
]
beats = st.tuples(
    st.floats(0.0, 8.0), st.sampled_from("abc"), st.floats(0.1, LONGEST_REQUEST_SECONDS), st.sampled_from([1e9, 5.0])
)


def repeat(rhythm):
    """The rhythm over and over, so that whatever starves somebody goes on doing so."""
    now, jobs = 0.0, []
    for _ in range(REPEATS):
        for gap, model, seconds, patience in rhythm:
            now += gap
            jobs.append((now, model, seconds, patience))
    return jobs


@settings(max_examples=50)
@given(rhythm=st.lists(beats, min_size=1, max_size=8), groups=st.sampled_from(GROUPINGS))
@example(rhythm=[(1.0, "a", 12.0, 1e9), (0.0, "a", 12.0, 1e9), (0.0, "b", 1.0, 1e9)], groups=())
@example(rhythm=[(8.0, "a", 12.0, 1e9), (0.0, "b", 0.1, 5.0), (0.5, "c", 0.1, 1e9)], groups=())
def test_every_wait_is_bounded(simulate_jobs, rhythm, groups):
    """The maximum wait, then each of the three models may load and serve once before, and the own load."""
    scores = simulate_jobs(repeat(rhythm), max_wait_seconds=MAX_WAIT_SECONDS, groups=groups)
    worst = max(scores.all_waits(), default=0.0)
    assert worst <= MAX_WAIT_SECONDS + 4 * (LONGEST_REQUEST_SECONDS + LONGEST_SWAP_SECONDS)
