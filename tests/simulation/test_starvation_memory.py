"""Where memory decides no pattern of traffic keeps a request waiting beyond a bound, and none is turned away."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulated.clients import one_request
from simulated.deeds import Ask
from simulated.machine import Machine, Model
from simulated.world import World

from llama_swap.scheduler import Scheduler
from llama_swap.scheduler.spec import FitSpec, Limits, ModelSpec, SchedulerSpec

MACHINE = Machine((24.0,), reserved=0.0, context=0.0, disk=1.0, bus=4.0, spare=12.0)
MODELS = {"a": Model(14.0), "b": Model(9.0), "c": Model(6.0), "d": Model(20.0)}  # a and b fit, or a and c, or b and c
MAX_WAIT_SECONDS = 10.0
LONGEST_REQUEST_SECONDS = 12.0
LONGEST_SWAP_SECONDS = 1.0 + 1.5 + 1.0 + 20.0 + 0.5  # stop, release, launch, load, readings
REPEATS = 25

beats = st.tuples(
    st.floats(0.0, 8.0), st.sampled_from("abcd"), st.floats(0.1, LONGEST_REQUEST_SECONDS), st.sampled_from([1e9, 5.0])
)


def repeat(rhythm):
    """The rhythm over and over, so that whatever starves somebody goes on doing so."""
    now = 0.0
    for _ in range(REPEATS):
        for gap, model, seconds, patience in rhythm:
            now += gap
            yield now, one_request(Ask(model, model, seconds, patience=patience))


@settings(max_examples=20)
@given(rhythm=st.lists(beats, min_size=1, max_size=6))
@example(rhythm=[(1.0, "a", 12.0, 1e9), (0.0, "a", 12.0, 1e9), (0.0, "d", 1.0, 1e9)])
@example(rhythm=[(4.0, "a", 9.0, 1e9), (0.0, "b", 9.0, 1e9), (4.0, "d", 1.0, 5.0), (4.0, "c", 9.0, 1e9)])
def test_every_wait_is_bounded(rhythm):
    """The maximum wait, then each of the four models may load and serve once before, and the own load."""
    models = {name: ModelSpec(name, "v1", start_timeout_seconds=600, stop_grace_seconds=30) for name in MODELS}
    rules = SchedulerSpec(models, (), Limits(max_wait_seconds=MAX_WAIT_SECONDS), fit=FitSpec(headroom_bytes=0))
    scores = World(Scheduler(rules), MODELS, MACHINE).run(repeat(rhythm))
    assert not scores.turned_away
    assert not scores.out_of_memory
    assert scores.worst <= MAX_WAIT_SECONDS + 5 * (LONGEST_REQUEST_SECONDS + LONGEST_SWAP_SECONDS)
