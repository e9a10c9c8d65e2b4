"""The words of every refusal: what happened, to which model, the numbers, and what to do."""

from collections.abc import Sequence

from llama_swap.scheduler.commands import RejectReason, RejectRequest
from llama_swap.scheduler.events import ProcessExited
from llama_swap.scheduler.spec import Limits
from llama_swap.scheduler.state import Dismissal, Failures, Waiter

SOON_SECONDS = 1.0
"""When to try again where nothing better is known."""

AGAIN_SECONDS = 5.0
"""When to try again where the driver does not answer: it has been asked again by then."""


def dismissed(waiter: Waiter, dismissal: Dismissal) -> RejectRequest:
    """A refusal that all waiters of a model get."""
    retry = SOON_SECONDS if dismissal.reason is RejectReason.SHUTTING_DOWN else dismissal.retry_after_seconds
    return RejectRequest(waiter.request_id, waiter.model, dismissal.reason, dismissal.message, dismissal.because, retry)


def unknown(model: str) -> Dismissal:
    """The configuration has no such model."""
    return Dismissal(
        RejectReason.MODEL_UNKNOWN,
        f"model {model} is not in the configuration; /v1/models lists the models there are",
        f"{model} is not in the configuration",
    )


def shutting_down(model: str) -> Dismissal:
    """The service ends."""
    return Dismissal(
        RejectReason.SHUTTING_DOWN,
        f"the service is shutting down, model {model} is not served any more; try again once it is back",
        "the service is shutting down",
    )


def unloaded_while_loading(model: str) -> Dismissal:
    """Somebody unloaded the model while it loaded."""
    return Dismissal(
        RejectReason.UNLOADED,
        f"model {model} unloaded while loading; another request loads it again",
        f"{model} was unloaded on request",
    )


def unloaded_while_queued(model: str) -> Dismissal:
    """Somebody unloaded the model before its turn came."""
    return Dismissal(
        RejectReason.UNLOADED,
        f"model {model} unloaded while this request was queued for it; another request loads it",
        f"{model} was unloaded on request",
    )


def start_failed(model: str, detail: str, output_tail: tuple[str, ...]) -> Dismissal:
    """The process of the model exited or never became ready."""
    lines = "\n".join(output_tail)
    said = f"; its last output:\n{lines}" if output_tail else ""
    return Dismissal(
        RejectReason.START_FAILED,
        f"model {model} failed to start: {detail}{said}",
        f"{model} failed to start: {detail}",
    )


def out_of_memory(model: str, exited: ProcessExited, sums: Sequence[str]) -> Dismissal:
    """Memory ran out while the model loaded, and to try again does not help."""
    lines = "\n".join(exited.output_tail)
    said = f"; its last output:\n{lines}" if exited.output_tail else ""
    return Dismissal(
        RejectReason.OUT_OF_MEMORY,
        f"model {model} ran out of memory while it loaded: {'; '.join((exited.detail, *sums))}{said}",
        f"{model} ran out of memory: {exited.detail}",
    )


def does_not_fit(model: str, sums: Sequence[str], key: str = "") -> Dismissal:
    """Even if all that may leave had left there would be too little memory.

    Args:
        model: which one.
        sums: the need, and what there is of each pool.
        key: of the configuration, which keeps free what it lacks.
    """
    smaller = "A smaller context, a smaller quantization or fewer layers on the device need less"
    return Dismissal(
        RejectReason.DOES_NOT_FIT,
        f"model {model} does not fit into the memory there is: {'; '.join(sums)}. "
        + (f"It would if less were kept free ({key})" if key else smaller),
        f"{model} does not fit even if all leave that may",
    )


def memory_unknown(model: str, sums: Sequence[str]) -> Dismissal:
    """It would fit if others used less than they did when the driver answered last."""
    return Dismissal(
        RejectReason.MEMORY_UNKNOWN,
        f"model {model} is not started now: by figures that are old, other programs use too much of its memory; "
        f"the driver is asked again: {'; '.join(sums)}",
        f"what others use of the memory of {model} is not known now",
        AGAIN_SECONDS,
    )


def pinned(model: str, holders: Sequence[str]) -> Dismissal:
    """A pinned model has the place."""
    names = ", ".join(holders)
    return Dismissal(
        RejectReason.PINNED,
        f"model {model} cannot start: its place is taken by {names}, which is pinned; unpin or unload it",
        f"{names} is pinned and in the way of {model}",
    )


def yielded(model: str, because: str, retry_after_seconds: float) -> Dismissal:
    """The device of the model is left to other programs."""
    return Dismissal(
        RejectReason.YIELDED,
        f"model {model} is not started now: its device is left to other programs ({because})",
        f"the device of {model} is yielded: {because}",
        retry_after_seconds,
    )


def backing_off(waiter: Waiter, failures: Failures, now: float) -> RejectRequest:
    """The model failed to start several times; the next try is not due yet."""
    wait = max(0.0, (failures.next_try_at or now) - now)
    return RejectRequest(
        waiter.request_id,
        waiter.model,
        RejectReason.BACKING_OFF,
        f"model {waiter.model} failed to start {failures.count} times in a row, the last time because: "
        f"{failures.last}. The next try is possible in {wait:.1f} seconds",
        f"{waiter.model} failed to start {failures.count} times; next try in {wait:.1f} s",
        max(SOON_SECONDS, wait),
    )


def too_many(waiter: Waiter, limit: int) -> RejectRequest:
    """The model's own limit of waiting and served requests is reached."""
    return RejectRequest(
        waiter.request_id,
        waiter.model,
        RejectReason.CONCURRENCY_LIMIT,
        f"Too many requests: model {waiter.model} has {limit} requests waiting or in service already "
        f"(concurrencyLimit {limit}); try again when one has ended",
        f"{waiter.model} has reached its concurrency limit of {limit}",
        SOON_SECONDS,
    )


def queue_full(waiter: Waiter, waiting: int, limits: Limits, oldest_waited: float) -> RejectRequest:
    """The queue of all models together is full."""
    return RejectRequest(
        waiter.request_id,
        waiter.model,
        RejectReason.QUEUE_FULL,
        f"the queue is full: this request for model {waiter.model} would be at position {waiting + 1}, "
        f"the limit is {limits.queue_limit}; try again later",
        f"{waiting} requests wait, the limit is {limits.queue_limit}",
        max(SOON_SECONDS, limits.max_wait_seconds - oldest_waited),
    )


def queue_timeout(waiter: Waiter, limits: Limits, position: int, waiting: int) -> RejectRequest:
    """The request waited longer than the configuration allows."""
    allowed = limits.queue_timeout_seconds
    return RejectRequest(
        waiter.request_id,
        waiter.model,
        RejectReason.QUEUE_TIMEOUT,
        f"the request for model {waiter.model} waited {allowed:g} seconds without being served, the longest allowed; "
        f"it was at position {position} of {waiting}; try again later",
        f"it waited {allowed:g} s, the queue timeout",
        max(SOON_SECONDS, limits.max_wait_seconds),
    )
