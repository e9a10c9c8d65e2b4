"""Judging every model that waits for an instance: what the policies say, as far as it can be acted on."""

import math
from collections.abc import Mapping
from dataclasses import replace

from llama_swap.scheduler.commands import RejectReason
from llama_swap.scheduler.instance import Instance
from llama_swap.scheduler.memory import NeedSource
from llama_swap.scheduler.policy.fit import place_by_memory
from llama_swap.scheduler.policy.queue import Rank
from llama_swap.scheduler.policy.seating import Candidate, Occupant, Placement, Step, Use, neighbours_of, place
from llama_swap.scheduler.spec import WhileYielded
from llama_swap.scheduler.state import State, Waiter
from llama_swap.scheduler.view import has_all, is_rested, lacks_need, occupants_of, view_of
from llama_swap.scheduler.yields import can_confine, remaining_devices, words_of, yield_before, yield_touching

FIRST: Rank = (-math.inf, 0.0, 0)
"""The rank of a pinned model that returns: its place is its own, even if others wait."""

LAST: Rank = (math.inf, 0.0, 0)
"""The rank of any other that starts by itself."""

FIRST_READING_SECONDS = 5.0
"""How long the first start waits for the first reading before the groups decide."""

_NOT_KNOWN = "what {} takes is not known before it is ready"


def waiters_in_order(state: State) -> list[Waiter]:
    """All waiters as they would be served: models in the order of the queue, those of a model together."""
    return [waiter for head in state.lines() for waiter in state.queue[head.model].values()]


def placements_of(state: State, now: float) -> list[Placement]:
    """Judge every model that needs an instance and has none that can serve."""
    candidates = _candidates(state, now)
    if not candidates:
        return []
    if _awaits_first_reading(state, now):
        return [
            Placement(candidate, Step.WAIT, note="the memory is being measured", needs_reading=True)
            for candidate in candidates
        ]
    yielded = _yielded_of(state, candidates)
    rest = [candidate for candidate in candidates if candidate.model not in yielded]
    placed = {p.model: p for p in (_by_memory(state, rest, now) if state.is_ruled_by_memory else _by_rule(state, rest))}
    return [_undisturbing(state, (yielded | placed)[candidate.model]) for candidate in candidates]


def _undisturbing(state: State, placement: Placement) -> Placement:
    """A model that returns sends nobody away if it is not pinned, or has failed again and again."""
    failures, most = state.failures.get(placement.model), state.spec.limits.backoff_after_failures or 1
    is_failing = failures is not None and failures.count >= most
    if placement.model in state.queue or (state.is_pinned(placement.model) and not is_failing):
        return placement
    stays = any(not instance.is_leaving for instance in _living(state, placement))
    if placement.step in (Step.EVICT, Step.DRAIN) and stays:
        return replace(placement, step=Step.WAIT)
    return placement


def _candidates(state: State, now: float) -> list[Candidate]:
    """Pinned ones that return, then who is waited for in the order of the queue, then who else starts by itself."""
    by_itself = [model for model in sorted(state.returning) if state.returns_now(model, now)]
    returning = {
        model: Candidate(model, FIRST, state.is_overdue(state.returning[model], now))
        for model in by_itself
        if state.is_pinned(model)
    }
    last = [m for m in by_itself if m not in returning and m not in state.queue]
    waited_for = [
        Candidate(head.model, state.rank(head), state.is_overdue(state.oldest_waiter(head.model).arrived_at, now))
        for head in state.lines()
        if head.model not in returning and state.needs_start(head.model)
    ]
    return [*returning.values(), *waited_for, *(Candidate(model, LAST, is_overdue=False) for model in last)]


def _awaits_first_reading(state: State, now: float) -> bool:
    fit, memory = state.spec.fit, state.memory
    if fit is None or memory.at is not None:
        return False
    return memory.asked_at is None or now < memory.asked_at + FIRST_READING_SECONDS


def _yielded_of(state: State, candidates: list[Candidate]) -> dict[str, Placement]:
    """Those whose devices are left to others, as far as what decides about the rest does not see that itself."""
    if state.is_ruled_by_memory and state.memory.devices:
        return {}
    return {
        candidate.model: _yielded(state, candidate, words_of(yielding))
        for candidate in candidates
        if (yielding := yield_before(state, candidate.model)) is not None
    }


# --- by groups or a matrix --------------------------------------------------------------


def _by_rule(state: State, candidates: list[Candidate]) -> list[Placement]:
    """What groups and matrix say, but for pinned models, which these do not know."""
    occupants = occupants_of(state)
    placements = place(candidates, occupants, state.policy)
    for newcomer in [p.model for p in placements if p.step is Step.START and state.is_pinned(p.model)]:
        occupants[newcomer] = Occupant(newcomer, Use.LOADING)
    return [_unless_pinned(state, _beside_all(state, p, occupants)) for p in placements]


def _beside_all(state: State, placement: Placement, occupants: Mapping[str, Occupant]) -> Placement:
    """Who waits has in the way also the pinned ones that start after it in this very step, and then stay."""
    if placement.step is not Step.WAIT:
        return placement
    victims = state.policy.victims(placement.model, neighbours_of(occupants))
    late = tuple(model for model in victims if model not in state.instances and model not in placement.in_the_way)
    return replace(placement, in_the_way=(*placement.in_the_way, *late))


def _unless_pinned(state: State, placement: Placement) -> Placement:
    if pinned_in_the_way(state, placement):
        refused = replace(placement, step=Step.REFUSE, refusal=RejectReason.PINNED)
        return refused if placement.model in state.queue else _hoping(refused)
    return replace(placement, devices=remaining_devices(state, placement.model))


def pinned_in_the_way(state: State, placement: Placement) -> list[str]:
    """Those in the way that stay, the ones that start in this very step among them."""
    staying = [model for model in placement.in_the_way if model != placement.model and state.is_pinned(model)]
    return [m for m in staying if m not in state.instances or not state.instances[m].is_leaving]


def _living(state: State, placement: Placement) -> list[Instance]:
    """Those in the way that run already; others start in this very step."""
    return [state.instances[model] for model in placement.in_the_way if model in state.instances]


def _yielded(state: State, candidate: Candidate, because: str) -> Placement:
    """Refused or let wait, as the configuration says; a model that returns by itself waits."""
    if state.spec.yielding.requests is WhileYielded.REFUSE and candidate.model in state.queue:
        return Placement(candidate, Step.REFUSE, note=because, refusal=RejectReason.YIELDED)
    return Placement(candidate, Step.WAIT, note=f"the device is left to others: {because}")


# --- by memory ------------------------------------------------------------------------------


def _by_memory(state: State, candidates: list[Candidate], now: float) -> list[Placement]:
    placements = place_by_memory(candidates, occupants_of(state), view_of(state, now))
    return [_checked(state, placement, now) for placement in placements]


def _checked(state: State, placement: Placement, now: float) -> Placement:
    """What memory says, but only on figures that are good enough to act on, and with yields as configured."""
    model = placement.model
    if lacks_need(state, model):
        return replace(placement, step=Step.WAIT, note=f"what {model} needs is being found out")
    if placement.step is Step.REFUSE:
        return _checked_refusal(state, placement, now) if model in state.queue else _hoping(placement)
    stops = any(not instance.is_leaving for instance in _living(state, placement))
    if placement.step is Step.START and not state.memory.is_fresh(now):
        return _unmeasured(placement)
    if placement.step is Step.EVICT and stops and not state.memory.is_fresh(now):
        # The victims stay claimed, or newcomers would take them back with every reading, for ever.
        return replace(_unmeasured(placement), step=Step.DRAIN)
    if placement.step is Step.WAIT:
        return replace(
            placement, note=placement.note or _left_alone(state, placement, now) or _untold(state, placement)
        )
    return placement


def _left_alone(state: State, placement: Placement, now: float) -> str:
    """Who in the way became ready just now and is not disturbed for that."""
    young = [instance.model for instance in _living(state, placement) if not is_rested(state, instance, now)]
    if not young or state.spec.fit is None:
        return ""
    return f"{', '.join(young)} is left alone for {state.spec.fit.min_residency_seconds:g} s after it became ready"


def _untold(state: State, placement: Placement) -> str:
    """Whom it has to let load first, because that may take everything."""
    first = state.instances.get(placement.behind or "")
    return "" if first is None or not has_all(first) else _NOT_KNOWN.format(first.model)


def _checked_refusal(state: State, placement: Placement, now: float) -> Placement:
    """Never fitting is said at once; what is only short of memory that others use depends on why they do."""
    candidate = placement.candidate
    yielding = yield_touching(state, candidate.model)
    if placement.refusal is RejectReason.YIELDED and yielding is not None:
        return _yielded(state, candidate, words_of(yielding))
    if not _may_refuse(state, candidate, now):
        return _unmeasured(placement)
    if placement.refusal is RejectReason.DOES_NOT_FIT:
        return placement
    return _short_for_others(state, placement, now)


def _hoping(placement: Placement) -> Placement:
    """A model that returns by itself is not refused: it starts when it can after all."""
    return replace(placement, step=Step.WAIT, note="there is no room for it")


def _short_for_others(state: State, placement: Placement, now: float) -> Placement:
    """It would fit if others did not use so much."""
    candidate = placement.candidate
    is_settled = state.memory.is_settled(now, state.spec.release_timeout_seconds)
    if not is_settled or any(i.is_leaving or i.claims.fallen for i in state.instances.values()):
        note = "the memory of what ran before is on its way back"
        return replace(placement, step=Step.WAIT, note=note, is_settling=True)
    loading = _loads_unseen(state)
    if loading:
        return replace(placement, step=Step.WAIT, note=_NOT_KNOWN.format(loading))
    is_told = not _is_remembered(state, candidate.model)
    if state.spec.yielding.free_below_bytes and (is_told or state.spec.yielding.requests is WhileYielded.WAIT):
        return _yielded(state, candidate, "other programs use too much of its memory")
    return replace(placement, refusal=RejectReason.DOES_NOT_FIT if is_told else RejectReason.MEMORY_UNKNOWN)


def _is_remembered(state: State, model: str) -> bool:
    """Whether what others use of the devices that a model wants was read when the driver still answered."""
    need = state.needs[model].need
    wants_devices = need.source is NeedSource.UNKNOWN or bool(need.device_bytes or need.by_device)
    is_old = bool(state.memory.problem) and bool(state.memory.devices)
    return is_old and wants_devices and state.spec.models[model].devices != ()


def _loads_unseen(state: State) -> str:
    """A model that loads where the driver does not say who has what: what it took already looks like others' use."""
    says_all = all(reading.held is not None for reading in state.memory.pools.values())
    loading = (i.model for i in state.instances.values() if not i.is_looked_at and not i.is_leaving)
    return "" if says_all else next(loading, "")


def _may_refuse(state: State, candidate: Candidate, now: float) -> bool:
    """Whether the last reading began after the request came, too: what others used before says nothing about it."""
    memory, model = state.memory, candidate.model
    if memory.at is None or not memory.is_fresh(now):
        return False
    return model not in state.queue or bool(memory.problem) or memory.at >= state.oldest_waiter(model).is_content_with


def _unmeasured(placement: Placement) -> Placement:
    return replace(placement, step=Step.WAIT, note="the memory is being measured", needs_reading=True)


def confined_to(state: State, placement: Placement) -> tuple[str, ...]:
    """The devices that a start names to its process: where there is a choice, and a name that CUDA knows."""
    devices = state.memory.devices
    if len(devices) < 2 or state.spec.models[placement.model].devices is not None:  # noqa: PLR2004 - no choice
        return ()
    chosen = placement.devices
    return chosen if set(chosen) != set(devices) and can_confine(state) else ()
