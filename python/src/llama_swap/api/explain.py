"""What a request would lead to, said without doing it: ``GET /api/explain/{model}``."""

from dataclasses import replace
from typing import Any

from aiohttp import web

from llama_swap.api.memory import account_as_json
from llama_swap.api.names import find_destination
from llama_swap.api.selectors import Turns
from llama_swap.api.site import site_of
from llama_swap.api.visit import Visit
from llama_swap.config import Model
from llama_swap.scheduler.explain import Explanation
from llama_swap.scheduler.snapshot import Snapshot


async def explain(request: web.Request) -> web.Response:
    """What would be stopped for a model, why, and what its request would wait for."""
    site = site_of(request)
    visit = Visit(site)
    # Turns of its own, so that asking takes nobody's turn away.
    destination = find_destination(replace(site, turns=Turns()), request.match_info["model"], visit)
    if isinstance(destination.served_by, Model):
        model_id = destination.served_by.id
        await site.supervisor.look(model_id)
        answer = _as_json(site.supervisor.explain(model_id), site.supervisor.snapshot())
    else:
        answer = _peer(visit)
    return web.json_response({"requested": visit.requested, "selector": visit.selector or None, **answer})


def _as_json(explanation: Explanation, snapshot: Snapshot) -> dict[str, Any]:
    rule, refusal = explanation.rule, explanation.refusal
    return {
        "model": explanation.model,
        "outcome": explanation.outcome.value,
        "would_start": explanation.would_start,
        "would_stop": [{"model": d.model, "because": d.because, "cost": d.cost} for d in explanation.would_stop],
        "waits_for": explanation.waits_for,
        "position": explanation.position,
        "rule": rule and {"kind": rule.kind.value, "name": rule.name, "text": rule.text, "cost": rule.cost},
        "refusal": refusal and {"reason": refusal.reason.value, "message": refusal.message},
        "memory": explanation.memory and account_as_json(snapshot, explanation.memory),
    }


def _peer(visit: Visit) -> dict[str, Any]:
    return {
        "model": visit.model,
        "outcome": "peer",
        "would_start": False,
        "would_stop": [],
        "waits_for": "",
        "position": 0,
        "rule": None,
        "refusal": None,
        "memory": None,
    }


def routes() -> list[web.RouteDef]:
    """One route; IDs may contain slashes."""
    return [web.get("/api/explain/{model:.+}", explain)]
