"""The core: decides who runs, without clock, I/O or logging."""

from llama_swap.scheduler.machine import Scheduler
from llama_swap.scheduler.snapshot import InstanceView, ModelView, Snapshot, Standing, WaiterView
from llama_swap.scheduler.state import InvalidTransition, Phase
from llama_swap.scheduler.story import Recording, StoryEntry, replay

__all__ = [
    "InstanceView",
    "InvalidTransition",
    "ModelView",
    "Phase",
    "Recording",
    "Scheduler",
    "Snapshot",
    "Standing",
    "StoryEntry",
    "WaiterView",
    "replay",
]
