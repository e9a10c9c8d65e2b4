"""What is known about a model before anything is looked at: its configuration, in the words of this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field


class NotUnderstoodError(Exception):
    """Why nothing can be said about what a model needs, as a person reads it; expected, not a fault."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as it is configured.

    Attributes:
        argv: the command as it is started.
        env: the whole environment it is started with; llama-server reads options from it.
        vram_bytes: what the configuration says it takes of all devices together; None says nothing.
        vram_by_device: the same for each device, by its number or UUID; {} says nothing.
        ram_bytes: what the configuration says it takes of the machine's memory.
        devices: the only devices that its command can use, as the command names them; ``("*",)`` is all of them,
            () none; None leaves the choice to the scheduler.
        kept_bytes: what is kept free of each device besides what it needs.
    """

    model: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    vram_bytes: int | None = None
    vram_by_device: Mapping[str, int] = field(default_factory=dict)
    ram_bytes: int | None = None
    devices: tuple[str, ...] | None = None
    kept_bytes: int = 0

    @property
    def is_declared(self) -> bool:
        """Whether the configuration says what it takes of the devices, or of the host where it uses none."""
        return self.vram_bytes is not None or bool(self.vram_by_device) or (self.devices == () and bool(self.ram_bytes))
