"""The core: decides who runs, without clock, I/O or logging."""

from llama_swap.scheduler.explain import Departure, Explanation, Outcome
from llama_swap.scheduler.machine import Scheduler
from llama_swap.scheduler.policy.coexistence import can_coexist
from llama_swap.scheduler.policy.ruling import RuleKind, Ruling
from llama_swap.scheduler.snapshot import Standing
from llama_swap.scheduler.state import InvalidTransition, Phase
from llama_swap.scheduler.story import replay

__all__ = [
    "Departure",
    "Explanation",
    "InvalidTransition",
    "Outcome",
    "Phase",
    "RuleKind",
    "Ruling",
    "Scheduler",
    "Standing",
    "can_coexist",
    "replay",
]
