"""What the scheduler is configured with: plain frozen data that :mod:`llama_swap.config` compiles from YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from llama_swap.scheduler.memory import HOST


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model as the scheduler sees it.

    Attributes:
        fingerprint: changes whenever the process would be started differently, so that a reload restarts it.
        ttl_seconds: idle time after which it is unloaded; 0 is never.
        start_timeout_seconds: time from start to ready (``healthCheckTimeout``); 0 is no limit.
        stop_grace_seconds: time from the request to stop to SIGKILL (``unloadTimeout``); 0 kills at once.
        concurrency_limit: waiting and served requests at once; 0 is no limit.
        priority: among waiting requests the higher goes first; ties by arrival. A point is worth ``max_wait_seconds``
            of waiting, so that urgent requests cannot starve the others for ever.
        pin: never evicted and never unloaded for being idle.
        evict_cost: what evicting it costs, in place of the learned reload time weighted by use; None is learned.
        devices: the only devices its command can use (numbers or UUIDs), because it names them itself; None leaves the
            choice to the scheduler, () is a model that uses none.
    """

    model: str
    fingerprint: str
    ttl_seconds: float = 0.0
    start_timeout_seconds: float = 120.0
    stop_grace_seconds: float = 10.0
    concurrency_limit: int = 0
    priority: int = 0
    pin: bool = False
    evict_cost: float | None = None
    devices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """Models with common rules about who may run beside whom (llama-swap ``groups``).

    Attributes:
        swap: starting a member stops the other members.
        exclusive: starting a member stops the members of all other groups that are not persistent.
        persistent: other groups never stop its members.
    """

    name: str
    members: tuple[str, ...]
    swap: bool = True
    exclusive: bool = True
    persistent: bool = False


class TieBreak(StrEnum):
    """Which of two sets is taken when evicting for either costs the same."""

    DEFINITION = "definition"  # the one defined first, as in llama-swap
    LRU = "lru"  # the one that keeps the models used most recently


@dataclass(frozen=True, slots=True)
class MatrixSpec:
    """Sets of models that may run together (llama-swap ``matrix``).

    Attributes:
        sets: name -> expression (see :mod:`llama_swap.scheduler.policy.dsl`); their order matters.
        vars: short name -> model, for models whose names do not fit into an expression.
        evict_costs: model or short name -> what stopping it costs, at least 1; 1 where nothing is said.
    """

    sets: Mapping[str, str]
    vars: Mapping[str, str] = field(default_factory=dict)
    evict_costs: Mapping[str, int] = field(default_factory=dict)
    tie_break: TieBreak = TieBreak.DEFINITION


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on waiting, the same for all models.

    Attributes:
        max_wait_seconds: once the oldest waiter that cannot start has waited this long, newcomers to the models in its
            way queue too and those models are drained; 0 is never.
        queue_limit: requests that may wait at once, over all models; 0 is no limit.
        queue_timeout_seconds: how long a request may wait before it is refused; 0 is for ever.
        backoff_after_failures: after this many failed starts in a row requests are refused for a while before the next
            try; 0 is never.
        backoff_first_seconds: the first such while; it doubles with each further failure.
        backoff_max_seconds: the longest wait between two tries.
        fair_share_seconds: by how much the requests of a caller that had far more than its share of the service lately
            are put behind those of others at most; 0 treats all alike.
    """

    max_wait_seconds: float = 10.0
    queue_limit: int = 0
    queue_timeout_seconds: float = 0.0
    backoff_after_failures: int = 3
    backoff_first_seconds: float = 1.0
    backoff_max_seconds: float = 60.0
    fair_share_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class FitSpec:
    """Memory decides who may run beside whom.

    Attributes:
        when_measured: only where NVML answers (``router: auto``); until then the groups hold.
        headroom_bytes: what stays free on each device.
        host_headroom_bytes: what stays free of the machine's memory.
        min_residency_seconds: how long an idle model that just became ready is left alone by others, unless they are
            overdue.
        read_ahead: read the file of the next model while its victims leave.
    """

    when_measured: bool = False
    headroom_bytes: int = 512 << 20
    host_headroom_bytes: int = 1 << 30
    min_residency_seconds: float = 5.0
    read_ahead: bool = True


class WhileYielded(StrEnum):
    """What becomes of requests for a model whose device is yielded."""

    REFUSE = "refuse"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class YieldSpec:
    """When devices are left to other programs, and how.

    Attributes:
        free_below_bytes: yield by itself when the use of other programs leaves less than this free on a device, and
            always leave as much when models start; 0 is never.
        drain_seconds: how long models in use may finish what they serve; 0 is without bound.
        return_after_seconds: how long the pressure must be over before models may start again.
    """

    free_below_bytes: int = 0
    drain_seconds: float = 30.0
    return_after_seconds: float = 30.0
    requests: WhileYielded = WhileYielded.REFUSE


@dataclass(frozen=True, slots=True)
class SchedulerSpec:
    """Everything the scheduler needs to know about the configuration.

    Attributes:
        groups: a model in none of them belongs to one implicit group that swaps and is exclusive.
        matrix: takes the place of the groups, which then mean nothing; None where the groups decide.
        fit: memory decides instead of both, always or where it can be measured; None is never.
        release_timeout_seconds: how long the memory of an exited process is waited for before it counts as lost.
    """

    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    groups: tuple[GroupSpec, ...] = ()
    limits: Limits = field(default_factory=Limits)
    matrix: MatrixSpec | None = None
    fit: FitSpec | None = None
    yielding: YieldSpec = field(default_factory=YieldSpec)
    release_timeout_seconds: float = 5.0

    def kept_free(self, pool: str | None = None) -> tuple[int, str]:
        """How many bytes of a pool (None: of any device) stay free, and the key of the configuration that says so."""
        below = self.yielding.free_below_bytes
        if self.fit is None:
            return 0, ""
        if pool == HOST:
            return self.fit.host_headroom_bytes, "hostHeadroom"
        return max((self.fit.headroom_bytes, "headroom"), (below, "yield.freeBelow"), key=lambda kept: kept[0])
