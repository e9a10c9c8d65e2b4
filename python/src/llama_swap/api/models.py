"""``GET /v1/models`` and ``/models`` in llama-swap's form (v250, model list)."""

import time
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from llama_swap.api.site import Site, site_of
from llama_swap.config import Capabilities, Model, Peer, Selector, Strategy

# llama-swap drops these from `metadata` where `capabilities` says them.
_CAPABILITY_KEYS = frozenset({"architecture", "capabilities", "supported_parameters", "context_length"})


async def list_models(request: web.Request) -> web.Response:
    """The listed models, sorted by ID; the Origin of a browser is allowed to read them."""
    site = site_of(request)
    await site.contexts.learn(site.supervisor.living_instances())
    data = sorted(_items(site), key=lambda item: str(item["id"]))
    response = web.json_response({"object": "list", "data": data})
    if origin := request.headers.get("Origin"):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
    return response


def _items(site: Site) -> Iterator[dict[str, Any]]:
    running = {instance.model for instance in site.supervisor.snapshot().instances}
    created = int(time.time())
    for model in site.config.models.values():
        if model.unlisted:
            continue
        item = describe(model, created=created, loaded=model.id in running)
        _add_context(item, site.contexts.known(model))
        yield item
        if site.config.include_aliases_in_list:
            for alias in model.aliases:
                yield _as_alias(item, alias)
    for peer in site.config.peers.values():
        for name in peer.models:
            yield _peer_item(peer, name, created)
    for name, selector in site.config.selectors.items():
        if not selector.unlisted:
            yield _selector_item(name, selector, created)
    yield from _pin_items(site, created)


def _add_context(item: dict[str, Any], context: int | None) -> None:
    """Say the context length that the upstream told us, where the configuration says none."""
    if context and "context_length" not in item:
        item["context_length"] = context
        item["meta"]["n_ctx"] = context


def _blank(name: str, created: int, **meta: Any) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "llama-swap",
        "meta": {"llamaswap": meta},
        "status": {"value": "unloaded"},
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
    profile = site.active_profile
    for name, target in profile.pins.items() if profile is not None else ():
        if target and site.config.find(name) is None and name not in site.config.selectors:
            yield _blank(name, created, type="profile", modelID=target)


def describe(model: Model, *, created: int, loaded: bool) -> dict[str, Any]:
    """One entry of the list."""
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
        if model.capabilities.context:
            meta["n_ctx"] = model.capabilities.context
    meta["llamaswap"] = {**metadata, "type": "model", "aliases": list(model.aliases)}
    item["meta"] = meta
    item["status"] = {"value": "loaded" if loaded else "unloaded"}
    return item


def _as_alias(item: dict[str, Any], alias: str) -> dict[str, Any]:
    own = {**item["meta"]["llamaswap"], "type": "alias", "modelID": item["id"]}
    del own["aliases"]
    return {**item, "id": alias, "meta": {**item["meta"], "llamaswap": own}}


def _capabilities(capabilities: Capabilities) -> dict[str, Any]:
    """Capabilities in the field names that clients read (OpenRouter's architecture, Ollama-like flags)."""
    inputs, outputs = set(capabilities.inputs), set(capabilities.outputs)
    flags = {
        "vision": "image" in inputs and "text" in outputs,
        "audio_transcriptions": "audio" in inputs and "text" in outputs,
        "audio_speech": "text" in inputs and "audio" in outputs,
        "image_generation": "text" in inputs and "image" in outputs,
        "image_to_image": "image" in inputs and "image" in outputs,
        "function_calling": capabilities.tools,
        "reranker": capabilities.reranker,
    }
    out: dict[str, Any] = {}
    if inputs or outputs:
        modality = "+".join(capabilities.inputs) + "->" + "+".join(capabilities.outputs)
        out["architecture"] = {
            "input_modalities": list(capabilities.inputs),
            "output_modalities": list(capabilities.outputs),
            "modality": modality,
        }
    if given := {name: True for name, has in flags.items() if has}:
        out["capabilities"] = given
    if capabilities.tools:
        out["supported_parameters"] = ["tools", "tool_choice"]
    if capabilities.context:
        out["context_length"] = capabilities.context
    return out


def routes() -> list[web.RouteDef]:
    """The two spellings of the list."""
    return [web.get("/v1/models", list_models), web.get("/models", list_models)]
