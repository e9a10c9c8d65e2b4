"""Context lengths that the configuration does not say: asked of running upstreams (llama.cpp ``/props``)."""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import aiohttp
import msgspec

from llama_swap.config import Model
from llama_swap.supervisor import Instance

_ASK_SECONDS = 5.0
_RETRY_SECONDS = 30.0
# A list of models waits no longer than this for answers that are on their way.
_SETTLE_SECONDS = 0.3
_LARGEST_ANSWER_BYTES = 1024 * 1024
_TRY_AGAIN = frozenset({408, 429})
# Who starts one of these has the /props that we ask for; other servers are not asked before somebody wants to know.
_SERVERS_WITH_PROPS = ("llama-server", "llama.cpp")


class _Settings(msgspec.Struct):
    n_ctx: int = 0


class _Props(msgspec.Struct):
    default_generation_settings: _Settings = msgspec.field(default_factory=_Settings)
    n_ctx: int = 0


@dataclass(frozen=True, slots=True)
class _Work:
    """What there is while :meth:`ContextLengths.run` runs."""

    session: aiohttp.ClientSession
    tasks: asyncio.TaskGroup
    instances: Callable[[], Collection[Instance]]
    learnt: Callable[[], None]


class ContextLengths:
    """What upstreams said, remembered after they are unloaded and until the model is configured differently.

    A llama-server is asked in the background once it is ready, any other upstream when somebody wants to know. Without
    an answer it is asked again, but not at once; an answer without a context length is one.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}
        self._not_before: dict[int, float] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._work: _Work | None = None

    def known(self, model: Model) -> int | None:
        """The context length in tokens, configured or said by the upstream; None while nobody knows it."""
        return _configured(model) or self._tokens.get(model.fingerprint) or None

    def look(self) -> None:
        """The state of an instance changed: ask the upstreams that surely know."""
        self._start(everyone=False)

    async def wanted(self) -> None:
        """Somebody wants to know: ask the others too, and wait a moment for the answers that are on their way."""
        self._start(everyone=True)
        if self._asking:
            await asyncio.wait(self._asking, timeout=_SETTLE_SECONDS)

    async def run(self, instances: Callable[[], Collection[Instance]], learnt: Callable[[], None]) -> None:
        """Ask until cancelled.

        Args:
            instances: the living ones.
            learnt: called after every context length that was learnt.
        """
        # No certificate is checked: nothing secret is sent, and the answer is one number.
        connector = aiohttp.TCPConnector(ssl=False, force_close=True)
        timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
            asyncio.TaskGroup() as tasks,
        ):
            self._work = _Work(session, tasks, instances, learnt)
            try:
                await asyncio.Event().wait()
            finally:
                self._work = None

    def _start(self, *, everyone: bool) -> None:
        if (work := self._work) is None:
            return
        for instance in self._due(work.instances(), everyone=everyone):
            task = work.tasks.create_task(self._ask(work, instance.model))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _due(self, living: Collection[Instance], *, everyone: bool) -> list[Instance]:
        """The ready upstreams to ask now; each is noted as asked."""
        now, ids = time.monotonic(), {instance.instance_id for instance in living}
        self._not_before = {key: at for key, at in self._not_before.items() if key in ids}
        due = [
            instance
            for instance in living
            if instance.ready_at is not None
            and (everyone or _has_props(instance.model))
            and not _configured(instance.model)
            and instance.model.fingerprint not in self._tokens
            and self._not_before.get(instance.instance_id, now) <= now
        ]
        self._not_before |= {instance.instance_id: now + _RETRY_SECONDS for instance in due}
        return due

    async def _ask(self, work: _Work, model: Model) -> None:
        """Note the answer; where the upstream has no context length to tell, 0."""
        try:
            tokens = await _n_ctx(work.session, model.proxy.rstrip("/") + "/props")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return
        if tokens is not None:
            self._tokens[model.fingerprint] = tokens
        if tokens:
            work.learnt()


def _has_props(model: Model) -> bool:
    return any(server in model.command for server in _SERVERS_WITH_PROPS)


def _configured(model: Model) -> int:
    return model.capabilities.context if model.capabilities is not None else 0


async def _n_ctx(session: aiohttp.ClientSession, url: str) -> int | None:
    """What the upstream says; 0 where it says nothing, None where it may say it later."""
    async with session.get(url, headers={"Accept-Encoding": "identity"}, allow_redirects=False) as answer:
        if answer.status >= 500 or answer.status in _TRY_AGAIN:  # noqa: PLR2004 - the first status of a server's trouble
            return None
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > _LARGEST_ANSWER_BYTES:
                return 0
    try:
        props = msgspec.json.decode(body, type=_Props)
    except msgspec.MsgspecError:
        return 0
    return max(0, props.default_generation_settings.n_ctx) or max(0, props.n_ctx)
