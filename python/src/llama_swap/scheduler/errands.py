"""What has to be found out or prepared before something can be decided, and when memory is read again.

Readings cost the owner a little, so there are none while nothing runs and nobody waits. What they are for sets the
pace: memory that is on its way back, models that load, other programs that may want a device, peaks to be learned.
"""

from collections.abc import Iterator, Sequence

from llama_swap.scheduler.commands import (
    AssessNeed,
    Command,
    MeasureMemory,
    ReadAhead,
    StartProcess,
    StopReadingAhead,
)
from llama_swap.scheduler.instance import Instance, Phase
from llama_swap.scheduler.placing import FIRST_READING_SECONDS
from llama_swap.scheduler.policy.seating import Placement, Step
from llama_swap.scheduler.state import State
from llama_swap.scheduler.view import lacks_need
from llama_swap.scheduler.yields import AUTO

RETURN_SECONDS = 0.075
SETTLE_SECONDS = 0.25
LOAD_SECONDS = 0.5
PRESSURE_SECONDS = 2.0
WATCH_SECONDS = 5.0
LOOK_FOR_DEVICES_SECONDS = 60.0


def run_errands(state: State, placements: Sequence[Placement], commands: list[Command], now: float) -> None:
    """Send for what is missing; each thing once until its answer is there."""
    if state.spec.fit is not None:
        _assess(state, placements, commands)
    _read_ahead(state, placements, commands)
    state.memory.is_settling = any(placement.is_settling for placement in placements)
    because = _reason_to_measure(state, placements, commands, now)
    if because and state.memory.asked_at is None and state.closing_since is None:
        state.memory.asked_at = now
        commands.append(MeasureMemory(because))


def _assess(state: State, placements: Sequence[Placement], commands: list[Command]) -> None:
    if not state.is_ruled_by_memory:
        return
    for placement in placements:
        model = placement.model
        fingerprint = state.spec.models[model].fingerprint
        if lacks_need(state, model) and (model, fingerprint) not in state.assessing:
            state.assessing.add((model, fingerprint))
            commands.append(AssessNeed(model, fingerprint, f"{model} is to be started"))


def _read_ahead(state: State, placements: Sequence[Placement], commands: list[Command]) -> None:
    """Read files for those whose victims leave; once, and no longer than somebody wants the model."""
    fit = state.spec.fit
    claims = {p.model: p for p in placements if p.step in (Step.EVICT, Step.DRAIN)}
    wanted = {p.model for p in placements if p.step not in (Step.START, Step.REFUSE)}
    commands += [
        StopReadingAhead(model, f"nobody waits for {model} any more")
        for model in sorted(state.read_ahead - wanted)
        if model not in state.instances or state.instances[model].is_leaving  # else it reads its file itself now
    ]
    started = state.read_ahead & wanted
    for model, placement in claims.items() if fit is not None and fit.read_ahead else ():
        if model not in started:
            leaving = ", ".join(name for name in placement.in_the_way if name != model) or model
            commands.append(ReadAhead(model, f"{model} starts once {leaving} has left"))
            started |= {model}
    state.read_ahead = started


def _reason_to_measure(state: State, placements: Sequence[Placement], commands: list[Command], now: float) -> str:
    """Why memory should be read now; "" where there is no reason."""
    waiting = next((p.model for p in placements if p.needs_reading), None)
    if waiting is not None:
        return f"{waiting} is to be started"
    memory = state.memory
    if state.spec.fit is not None and not memory.has_devices and not state.is_ruled_by_memory:
        started = any(isinstance(command, StartProcess) for command in commands)
        if started and now >= memory.received_at + LOOK_FOR_DEVICES_SECONDS:
            return "there may be devices by now"
    due = next_reading_at(state)
    return "the memory changes" if due is not None and due <= now else ""


def next_reading_at(state: State) -> float | None:
    """When the memory is to be read again whatever happens; None where that is not before something does."""
    memory = state.memory
    if memory.at is None or not (memory.has_devices or state.is_ruled_by_memory) or state.closing_since is not None:
        return None
    if any(_is_news(state, instance) for instance in state.instances.values()):
        return state.now
    pace = min(_paces(state), default=None)
    return None if pace is None else memory.received_at + pace


def _is_news(state: State, instance: Instance) -> bool:
    """Whether no reading shows yet what an instance holds now that it is ready, or has left."""
    if instance.phase is Phase.RELEASING:
        return not state.memory.is_after_exit
    return instance.phase is Phase.READY and not instance.is_looked_at


def _paces(state: State) -> Iterator[float]:
    for instance in state.instances.values():
        if instance.phase is Phase.RELEASING:
            yield RETURN_SECONDS
        elif instance.phase in (Phase.STARTING, Phase.STOPPING):
            yield LOAD_SECONDS
        else:
            yield WATCH_SECONDS
    is_watching = state.spec.yielding.free_below_bytes and (state.instances or state.queue)
    if is_watching or state.returning or any(holder.startswith(AUTO) for holder in state.yields):
        yield PRESSURE_SECONDS
    if state.memory.is_settling:
        yield SETTLE_SECONDS


def deadlines(state: State) -> Iterator[float]:
    """When errands are due by time alone."""
    memory = state.memory
    if memory.asked_at is None:
        due = next_reading_at(state)
        if due is not None:
            yield due
    elif memory.at is None and memory.asked_at + FIRST_READING_SECONDS > state.now:
        yield memory.asked_at + FIRST_READING_SECONDS
