"""What the service knows about memory by, built from the configuration."""

from collections.abc import Mapping
from contextlib import suppress

import structlog

from llama_swap.config import Config
from llama_swap.footprint.assess import Assessor
from llama_swap.footprint.learned import LearnedStore
from llama_swap.footprint.prefetch import ReadAhead
from llama_swap.gpu import DeviceWatch, MemoryWatch, kernel
from llama_swap.process.cgroup import own_cgroup
from llama_swap.supervisor import Senses
from llama_swap.supervisor.memory import seen_by_children


def senses_of(config: Config, devices: DeviceWatch, figures: LearnedStore, environment: Mapping[str, str]) -> Senses:
    """Everything about memory; to be built after the launcher has chosen its control group.

    Args:
        config: the one in force at the start.
        devices: read by others, too.
        figures: what was learned before.
        environment: what every process inherits.
    """
    if figures.problem:
        structlog.get_logger("memory").warning(figures.problem)
    return Senses(
        memory=MemoryWatch(devices, kernel(own_cgroup())),
        needs=Assessor(figures, ask_llama_cpp=config.ask_llama_cpp),
        figures=figures,
        ahead=ReadAhead(),
        sees=seen_by_children(environment.get("CUDA_VISIBLE_DEVICES")),
    )


def keep(figures: LearnedStore) -> None:
    """Write what was learned last; at the end nobody can do anything about a failure."""
    with suppress(OSError):
        figures.save()


def needs_restart(old: Config, new: Config) -> list[str]:
    """The keys about memory that changed and are only looked at when the service starts."""
    settings = "routing.router.settings.fit"
    changed = {
        f"{settings}.learned": old.fit_learned_path != new.fit_learned_path,
        f"{settings}.askLlamaCpp": old.ask_llama_cpp != new.ask_llama_cpp,
    }
    return [key for key, is_changed in changed.items() if is_changed]
