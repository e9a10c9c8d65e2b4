"""A story entry in words: what happened, then what was decided and why."""

from collections.abc import Iterator

from llama_swap.scheduler import events
from llama_swap.scheduler.commands import Decision, GrantLease, KillProcess, RejectRequest, StartProcess, StopProcess
from llama_swap.scheduler.story import StoryEntry

_VERBS: dict[type[Decision], str] = {
    StartProcess: "start",
    StopProcess: "stop",
    KillProcess: "kill",
    GrantLease: "grant",
    RejectRequest: "reject",
}


def tell(entry: StoryEntry) -> Iterator[tuple[str, str]]:
    """(kind, text) of the event and of each decision on it."""
    yield "event", _event_text(entry.event)
    for command in entry.commands:
        if not isinstance(command, Decision):
            continue
        yield _VERBS[type(command)], f"{_subject(command)}: {command.because}"


def _event_text(event: events.Event) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of event
    match event:
        case events.RequestArrived(request_id=request):
            return f"request {request} arrived"
        case events.RequestGone(request_id=request, served=served):
            return f"request {request} ended" + ("" if served else " without an answer of the upstream")
        case events.ProcessReady(instance_id=instance):
            return f"instance {instance} is ready"
        case events.ReadinessFailed(instance_id=instance, detail=detail):
            return f"instance {instance} cannot become ready: {detail}"
        case events.ProcessExited(instance_id=instance, detail=detail):
            return f"instance {instance} is gone: {detail}"
        case events.UnloadRequested(model=model):
            return f"unload of {model or 'all models'} requested"
        case events.ConfigChanged():
            return "configuration changed"
        case events.ShutdownRequested():
            return "shutdown requested"
        case events.MemoryMeasured(problem=problem):
            return f"memory measured{f': {problem}' if problem else ''}"
        case events.NeedAssessed(model=model, need=need):
            return f"the need of {model} is {need.source}"
        case events.PinChanged(model=model, pinned=pinned):
            return f"{model} {'pinned' if pinned else 'unpinned'}"
        case events.LoadPostponed(model=model):
            return f"{model} could not be loaded, which is tried again"
        case events.YieldRequested(holder=holder, because=because):
            return f"devices yielded to {holder}{f': {because}' if because else ''}"
        case events.YieldEnded(holder=holder):
            return f"yield to {holder or 'everybody'} ended"
        case events.DeadlineReached():
            return "a deadline was reached"


def _subject(command: Decision) -> str:
    if isinstance(command, RejectRequest):
        return f"{command.model}, request {command.request_id}"
    if isinstance(command, GrantLease):
        return f"{command.model}, request {command.request_id} on instance {command.instance_id}"
    return f"{command.model}, instance {command.instance_id}"
