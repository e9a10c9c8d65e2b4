"""From the name in a request to what serves it: profile pins, selectors, local models, peers - in this order."""

from dataclasses import replace

from llama_swap.api.directory import Destination, local_destination, peer_destination, row_metadata
from llama_swap.api.selectors import TargetLoad, Warmth, choose_spillover, choose_warm
from llama_swap.api.site import Site
from llama_swap.api.visit import Visit
from llama_swap.config import Config, Selector, Strategy
from llama_swap.errors import Reason, RequestError
from llama_swap.scheduler.state import Phase

_WARMTH = {Phase.READY: Warmth.READY, Phase.STARTING: Warmth.STARTING}


def find_destination(site: Site, requested: str | None, visit: Visit) -> Destination:
    """Whatever answers to a name; raises RequestError when nothing does."""
    if not requested:
        rule = 'name it in "model" (JSON or form field), or in ?model= for GET'
        raise RequestError(Reason.MODEL_MISSING, f"no model id could be identified: {rule}")
    visit.requested = requested
    found = site.directory.destinations.get(requested) if site.profile_switch.active is None else None
    if found is None:
        return _chosen(site, requested, visit)
    visit.model = found.counted_as
    return found


def _chosen(site: Site, requested: str, visit: Visit) -> Destination:
    """What the active profile and the selectors make of a name."""
    name = pinned(site, requested)
    selector = site.config.selectors.get(name)
    if selector is None:
        return locate(site, name, requested, visit)
    visit.selector = name
    destination = locate(site, _choose(site, name, selector), requested, visit)
    return replace(destination, metadata=row_metadata(name, destination))


def locate(site: Site, name: str, requested: str, visit: Visit) -> Destination:
    """The local model, else the peer's, that is called ``name``; raises RequestError when there is none."""
    config = site.config
    model, found = config.find(name), config.find_peer_model(name)
    if model is not None:
        destination = local_destination(config, model, name, requested)
    elif found is not None:
        destination = peer_destination(found, requested)
    else:
        raise RequestError(Reason.MODEL_UNKNOWN, _unknown(config, requested))
    visit.model = destination.counted_as
    return destination


def pinned(site: Site, requested: str) -> str:
    """What the active profile makes of a name; raises RequestError where it switches the name off."""
    profile = site.active_profile
    if profile is None or requested not in profile.pins:
        return requested
    target = profile.pins[requested]
    if not target:
        raise RequestError(Reason.MODEL_UNKNOWN, f'the active profile switches "{requested}" off')
    return target


def _choose(site: Site, name: str, selector: Selector) -> str:
    if selector.strategy is Strategy.PIN or len(selector.targets) == 1:
        return selector.targets[0]
    targets = _answering(site, selector.targets)
    loads = _loads(site, targets)
    if selector.strategy is Strategy.WARM:
        return choose_warm(targets, loads)
    return choose_spillover(targets, loads, limit=selector.spillover, turn=site.turns.next(name))


def _answering(site: Site, targets: tuple[str, ...]) -> tuple[str, ...]:
    """The targets without those of peers that are known not to answer; all of them where none is left."""
    return tuple(target for target in targets if not _is_silent(site, target)) or targets


def _is_silent(site: Site, target: str) -> bool:
    if site.config.find(target) is not None:
        return False
    found = site.config.find_peer_model(target)
    return found is not None and site.peers.of(found.peer).is_silent


def _loads(site: Site, targets: tuple[str, ...]) -> dict[str, TargetLoad]:
    snapshot = site.supervisor.snapshot()
    instances = {view.model: view for view in snapshot.instances}
    waiting = {view.model: view.waiting for view in snapshot.models}
    loads = {}
    for target in targets:
        model = site.config.find(target)
        if model is not None:
            view = instances.get(model.id)
            warmth = _WARMTH.get(view.phase, Warmth.COLD) if view else Warmth.COLD
            loads[target] = TargetLoad(warmth, (view.leases if view else 0) + waiting[model.id])
        elif found := site.config.find_peer_model(target):
            # Nobody knows what a peer has loaded: it counts as loaded while it works for us, else the order decides.
            busy = site.peers.of(found.peer).in_service[found.model]
            loads[target] = TargetLoad(Warmth.READY if busy else Warmth.COLD, busy)
    return loads


def _unknown(config: Config, name: str) -> str:
    nearest = config.nearest(name)
    hint = f'did you mean "{nearest}"?' if nearest else "GET /v1/models lists the models"
    return f'no model is called "{name}": {hint}'
