"""``GET /v1/models`` and ``/models`` in llama-swap's form (v250, model list)."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from llama_swap.api.site import Site, site_of
from llama_swap.config import Capabilities, Model, Peer, Selector, Strategy
from llama_swap.scheduler.snapshot import Snapshot
from llama_swap.scheduler.state import Phase

# llama-swap drops these from `metadata` where `capabilities` says them.
_CAPABILITY_KEYS = frozenset({"architecture", "capabilities", "supported_parameters", "context_length"})


async def list_models(request: web.Request) -> web.Response:
    """The listed models, sorted by ID; the Origin of a browser is allowed to read them."""
    site = site_of(request)
    await site.contexts.wanted()
    data = sorted(_items(site), key=lambda item: str(item["id"]))
    listing = _as_anthropic(data) if "anthropic-version" in request.headers else {"data": data}
    response = web.json_response({"object": "list", **listing})
    if origin := request.headers.get("Origin"):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
    return response


def _items(site: Site) -> Iterator[dict[str, Any]]:
    snapshot, created = site.supervisor.snapshot(), int(time.time())
    running = {instance.model for instance in snapshot.instances}
    for model in site.config.models.values():
        if model.unlisted:
            continue
        item = describe(model, context=site.contexts.known(model), created=created, loaded=model.id in running)
        yield item
        if site.config.include_aliases_in_list:
            for alias in model.aliases:
                yield _as_alias(item, alias)
    for peer in site.config.peers.values():
        for name in peer.models:
            yield _peer_item(peer, name, created)
    for name, selector in site.config.selectors.items():
        if not selector.unlisted:
            item = _selector_item(name, selector, created)
            yield item | {"status": _status(loaded=_is_served(site, selector, snapshot))}
    yield from _pin_items(site, created)


def _as_anthropic(data: list[dict[str, Any]]) -> dict[str, Any]:
    """The same list with what Anthropic's clients require; it is one page.

    Their ``capabilities`` are something else, so ours are left out.
    """
    for item in data:
        item.pop("capabilities", None)
        item |= {
            "type": "model",
            "display_name": item.get("name") or item["id"],
            "created_at": datetime.fromtimestamp(item["created"], UTC).isoformat().replace("+00:00", "Z"),
            "lifecycle": "active",
        }
        if "context_length" in item:
            item["max_input_tokens"] = item["context_length"]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"data": data, "has_more": False, **ends}


def _is_served(site: Site, selector: Selector, snapshot: Snapshot) -> bool:
    """Whether a target that it may choose is ready or starts; what peers have loaded is not known."""
    awake = {view.model for view in snapshot.instances if view.phase in {Phase.READY, Phase.STARTING}}
    targets = selector.targets[:1] if selector.strategy is Strategy.PIN else selector.targets
    models = (site.config.find(target) for target in targets)
    return any(model is not None and model.id in awake for model in models)


def _status(*, loaded: bool) -> dict[str, str]:
    return {"value": "loaded" if loaded else "unloaded"}


def _blank(name: str, created: int, **meta: Any) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "llama-swap",
        "meta": {"llamaswap": meta},
        "status": _status(loaded=False),
    }


def _peer_item(peer: Peer, name: str, created: int) -> dict[str, Any]:
    item = _blank(f"{peer.id}/{name}", created, type="peer", peerID=peer.id)
    return item | {"name": f"{peer.id}: {name}"}


def _selector_item(name: str, selector: Selector, created: int) -> dict[str, Any]:
    meta: dict[str, Any] = {"type": "selector", "strategy": selector.strategy.value, "targets": list(selector.targets)}
    if selector.strategy is Strategy.SPILLOVER:
        meta["spillover"] = selector.spillover
    item = _blank(name, created, **{**selector.metadata, **meta})
    texts = {"name": selector.name, "description": selector.description}
    return item | {key: text for key, text in texts.items() if text}


def _pin_items(site: Site, created: int) -> Iterator[dict[str, Any]]:
    """Names that exist only through the active profile."""
    profile, config = site.active_profile, site.config
    for name, target in profile.pins.items() if profile is not None else ():
        exists = config.find(name) or config.find_peer_model(name) or name in config.selectors
        if target and not exists:
            yield _blank(name, created, type="profile")


def describe(model: Model, *, context: int | None, created: int, loaded: bool) -> dict[str, Any]:
    """One entry of the list.

    Args:
        model: as configured.
        context: length in tokens, configured or learnt; None where it is not known.
        created: what the list says of every model, seconds since 1970.
        loaded: whether it has a process.
    """
    item: dict[str, Any] = {"id": model.id, "object": "model", "created": created, "owned_by": "llama-swap"}
    if model.name:
        item["name"] = model.name
    if model.description:
        item["description"] = model.description
    metadata = dict(model.metadata)
    meta: dict[str, Any] = {}
    if model.capabilities is not None:
        item.update(_capabilities(model.capabilities))
        metadata = {key: value for key, value in metadata.items() if key not in _CAPABILITY_KEYS}
    if context:
        item["context_length"] = meta["n_ctx"] = context
    meta["llamaswap"] = {**metadata, "type": "model"}
    if model.aliases:
        meta["llamaswap"]["aliases"] = list(model.aliases)
    item["meta"] = meta
    item["status"] = _status(loaded=loaded)
    return item


def _as_alias(item: dict[str, Any], alias: str) -> dict[str, Any]:
    own = {**item["meta"]["llamaswap"], "type": "alias", "modelID": item["id"]}
    del own["aliases"]
    return {**item, "id": alias, "meta": {**item["meta"], "llamaswap": own}}


def _capabilities(capabilities: Capabilities) -> dict[str, Any]:
    """Capabilities in the field names that clients read (OpenRouter's architecture, Ollama-like flags).

    A side that is not configured is left out. To see needs no output that is named, everything else does.
    """
    inputs, outputs = set(capabilities.inputs), set(capabilities.outputs)
    flags = {
        "vision": "image" in inputs,
        "audio_transcriptions": "audio" in inputs and "text" in outputs,
        "audio_speech": "text" in inputs and "audio" in outputs,
        "image_generation": "text" in inputs and "image" in outputs,
        "image_to_image": "image" in inputs and "image" in outputs,
        "function_calling": capabilities.tools,
        "reranker": capabilities.reranker,
    }
    out: dict[str, Any] = {}
    if inputs or outputs:
        sides = {"input_modalities": capabilities.inputs, "output_modalities": capabilities.outputs}
        out["architecture"] = {side: list(names) for side, names in sides.items() if names}
        if inputs and outputs:
            out["architecture"]["modality"] = "->".join("+".join(names) for names in sides.values())
    if given := {name: True for name, has in flags.items() if has}:
        out["capabilities"] = given
    if capabilities.tools:
        out["supported_parameters"] = ["tools", "tool_choice"]
    return out


def routes() -> list[web.RouteDef]:
    """The two spellings of the list."""
    return [web.get("/v1/models", list_models), web.get("/models", list_models)]
