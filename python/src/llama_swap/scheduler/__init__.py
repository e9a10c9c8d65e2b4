"""The core: decides who runs, without clock, I/O or logging."""

from llama_swap.scheduler.explain import Departure, Explanation, MemoryAccount, Outcome
from llama_swap.scheduler.machine import Scheduler
from llama_swap.scheduler.policy.coexistence import can_coexist
from llama_swap.scheduler.policy.ruling import RuleKind, Ruling
from llama_swap.scheduler.policy.sets import MatrixError, Part, check_matrix
from llama_swap.scheduler.snapshot import InstanceView, ModelView, PoolView, Snapshot, Standing, WaiterView, YieldView
from llama_swap.scheduler.state import InvalidTransition, Phase
from llama_swap.scheduler.story import Recording, StoryEntry, replay

__all__ = [
    "Departure",
    "Explanation",
    "InstanceView",
    "InvalidTransition",
    "MatrixError",
    "MemoryAccount",
    "ModelView",
    "Outcome",
    "Part",
    "Phase",
    "PoolView",
    "Recording",
    "RuleKind",
    "Ruling",
    "Scheduler",
    "Snapshot",
    "Standing",
    "StoryEntry",
    "WaiterView",
    "YieldView",
    "can_coexist",
    "check_matrix",
    "replay",
]
