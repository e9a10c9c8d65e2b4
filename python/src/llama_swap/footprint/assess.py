"""The best figure that there is for what a model needs: learned, declared, asked, estimated, or honestly unknown."""

import asyncio
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from llama_swap.footprint.estimate import DEVICE_CONTEXT_BYTES, estimate, extras, keeps_per_sequence, least
from llama_swap.footprint.facts import ModelFacts, NotUnderstoodError
from llama_swap.footprint.files import Invocation, read_invocation
from llama_swap.footprint.fit_params import (
    HOST_NAME,
    Asking,
    arguments_for,
    environment_for,
    find_tool,
    parse_answer,
)
from llama_swap.footprint.identity import identity_of
from llama_swap.footprint.learned import AskedDevice, Learned, LearnedStore
from llama_swap.footprint.sources import (
    adaptable,
    down_to,
    from_asked,
    from_declared,
    from_learned,
    on_named_devices,
    with_declared_host,
    with_floor,
)
from llama_swap.scheduler.memory import Need, NeedSource


@dataclass(frozen=True, slots=True)
class Examined:
    """A model as it lies on the disk now.

    Attributes:
        identity: what was learnt of it is kept under this.
        files: those that it reads when it starts, in the order in which it reads them; () is unknown.
    """

    identity: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Findings:
    """What a look at the command and the files shows.

    Attributes:
        invocation: None where the command is not understood.
        trouble: why it is not.
    """

    examined: Examined
    invocation: Invocation | None = None
    trouble: str = ""


class Assessor:
    """Says what models need.

    Args:
        store: what was learnt.
        ask_llama_cpp: run ``llama-fit-params`` where it is installed; one at a time.
    """

    def __init__(self, store: LearnedStore, *, ask_llama_cpp: bool = True) -> None:
        self._store = store
        self._asks = ask_llama_cpp
        self._one_at_a_time = asyncio.Lock()
        self._in_vain: set[str] = set()

    async def examine(self, facts: ModelFacts) -> Examined:
        """Who the model is, and what it reads; raises nothing."""
        return (await asyncio.to_thread(_look, facts)).examined

    async def assess(self, facts: ModelFacts, *, most_bytes: int | None = None) -> Need:
        """What the model needs, by the best source; raises nothing.

        Args:
            facts: its configuration.
            most_bytes: the memory of all devices together; a llama-server that would want more makes itself smaller,
                so that nothing can be said before it ran. None where no device is known.
        """
        found = await asyncio.to_thread(_look, facts)
        learned = self._store.lookup(found.examined.identity)
        need = await self._by_best_source(facts, found, learned, most_bytes)
        need = with_floor(with_declared_host(facts, need), learned)
        return replace(need, load_seconds=learned.load_seconds, ahead_seconds=learned.ahead_seconds)

    async def _by_best_source(
        self, facts: ModelFacts, found: _Findings, learned: Learned, most_bytes: int | None
    ) -> Need:
        seen = from_learned(facts, learned) if learned.has_run else None
        if found.invocation is None or not found.invocation.options.is_adaptable:
            return seen or await self._foreseen(facts, found, learned, most_bytes)
        wanted = await self._foreseen(facts, found, learned, most_bytes)
        floor = await asyncio.to_thread(_least, found.invocation)
        if wanted.source is NeedSource.DECLARED:
            return down_to(floor, seen or wanted)
        return adaptable(found.invocation, wanted, seen, most_bytes, floor, kept_bytes=facts.kept_bytes)

    async def _foreseen(self, facts: ModelFacts, found: _Findings, learned: Learned, most_bytes: int | None) -> Need:
        """What can be known before it ran."""
        guess, trouble = None, found.trouble
        try:
            if found.invocation is not None:
                guess = await asyncio.to_thread(estimate, found.invocation)
        except NotUnderstoodError as error:
            trouble = str(error)
        # Where there is no device the machine's memory is all that it can take.
        if facts.is_declared or (facts.ram_bytes and not most_bytes):
            return from_declared(facts, guess)
        asked = await self._asked(facts, found, learned, most_bytes)
        known = asked or guess or Need(NeedSource.UNKNOWN, parts=((trouble, 0),))
        return with_declared_host(facts, on_named_devices(facts, known))

    async def _asked(
        self, facts: ModelFacts, found: _Findings, learned: Learned, most_bytes: int | None
    ) -> Need | None:
        """llama.cpp's own answer, from this time or an earlier one."""
        invocation, identity = found.invocation, found.examined.identity
        if invocation is None or not self._asks or identity in self._in_vain:
            return None
        try:
            answer = learned.asked or await self._ask(facts, invocation, expects_device=bool(most_bytes))
            more = await asyncio.to_thread(extras, invocation)
        except NotUnderstoodError:
            self._in_vain.add(identity)
            return None
        if not answer:
            return None
        self._store.remember_asked(identity, answer)
        return from_asked(facts, invocation, answer, more)

    async def _ask(self, facts: ModelFacts, invocation: Invocation, *, expects_device: bool) -> tuple[AskedDevice, ...]:
        """Run the tool; () is no answer to go by this time."""
        tool = await asyncio.to_thread(find_tool, invocation)
        if tool is None:
            return ()
        several = await asyncio.to_thread(keeps_per_sequence, invocation)
        env = environment_for(invocation.command.env, chosen_for_it=facts.devices is None)
        asking = Asking((str(tool), *arguments_for(invocation, several=several)), env)
        async with self._one_at_a_time:
            try:
                answer = parse_answer(await asyncio.to_thread(asking.run))
            finally:
                asking.stop()
        # Without a device it may be that the driver refused it one more context: then it counted for the host alone.
        has_device = any(device.name != HOST_NAME for device in answer)
        return answer if has_device or not expects_device or invocation.options.uses_no_device else ()


def _least(invocation: Invocation) -> int:
    """Below what a llama-server that adapts cannot run; blocks."""
    try:
        return least(invocation)
    except NotUnderstoodError:
        return DEVICE_CONTEXT_BYTES


def _look(facts: ModelFacts) -> _Findings:
    """Look at the command and the files; blocks."""
    try:
        invocation = read_invocation(facts)
        files = invocation.files
    except NotUnderstoodError as error:
        return _Findings(Examined(identity_of(facts, ())), trouble=str(error))
    except OSError as error:
        trouble = f"its files cannot be looked at: {error}"
        return _Findings(Examined(identity_of(facts, ())), trouble=trouble)
    program = shutil.which(invocation.command.program, path=invocation.command.env.get("PATH"))
    return _Findings(Examined(identity_of(facts, (*files, *([Path(program)] if program else []))), files), invocation)
