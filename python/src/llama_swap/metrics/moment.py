"""What is known now of all that has gauges."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from llama_swap.metrics.host import HostSample
from llama_swap.metrics.views import DeviceView, ModelMemory
from llama_swap.scheduler.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Moment:
    """What the gauges are made of; each part is None until it is known.

    Attributes:
        heartbeat_age_seconds: since the supervisor's loop last reported life.
        memory: by model.
    """

    snapshot: Snapshot | None = None
    heartbeat_age_seconds: float | None = None
    host: HostSample | None = None
    devices: Collection[DeviceView] = ()
    memory: Mapping[str, ModelMemory] = field(default_factory=dict)
