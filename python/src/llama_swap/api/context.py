"""Context lengths that the configuration does not say: asked of running upstreams (llama.cpp ``/props``)."""

import asyncio
from collections.abc import Iterable

import aiohttp
import msgspec

from llama_swap.config import Model
from llama_swap.supervisor import Instance

_PROPS_SECONDS = 0.5


class _Settings(msgspec.Struct):
    n_ctx: int = 0


class _Props(msgspec.Struct):
    default_generation_settings: _Settings = msgspec.field(default_factory=_Settings)
    n_ctx: int = 0


class ContextLengths:
    """What upstreams said, remembered after they are unloaded and until the model is configured differently."""

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}

    def known(self, model: Model) -> int | None:
        """The context length in tokens; None while nobody knows it."""
        return self._tokens.get(model.fingerprint) or None

    async def learn(self, instances: Iterable[Instance]) -> None:
        """Ask every ready upstream that was not asked yet, side by side, each for at most half a second."""
        unknown = [i for i in instances if i.ready_at is not None and i.model.fingerprint not in self._tokens]
        if not unknown:
            return
        timeout = aiohttp.ClientTimeout(total=_PROPS_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(*(self._ask(session, instance.model) for instance in unknown))

    async def _ask(self, session: aiohttp.ClientSession, model: Model) -> None:
        """Note the answer; an upstream that has no /props is noted with 0 and not asked again."""
        try:
            async with session.get(model.proxy.rstrip("/") + "/props") as answer:
                props = msgspec.json.decode(await answer.read(), type=_Props)
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError):
            props = _Props()
        self._tokens[model.fingerprint] = props.default_generation_settings.n_ctx or props.n_ctx
