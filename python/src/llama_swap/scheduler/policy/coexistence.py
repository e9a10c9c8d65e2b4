"""Which policy a configuration asks for: the only place that knows there is more than one."""

from collections.abc import Collection

from llama_swap.scheduler.policy.group import GroupPolicy
from llama_swap.scheduler.policy.matrix import MatrixPolicy
from llama_swap.scheduler.policy.ruling import Policy
from llama_swap.scheduler.spec import SchedulerSpec


def policy_of(spec: SchedulerSpec) -> Policy:
    """The policy of a configuration.

    Raises:
        ValueError: its matrix has mistakes that ``check_matrix`` would have found.
    """
    return GroupPolicy.of(spec.groups) if spec.matrix is None else MatrixPolicy.of(spec.matrix, spec.models)


def can_coexist(spec: SchedulerSpec, models: Collection[str]) -> bool:
    """Whether all of these models can run at once (what the targets of a spillover selector have to).

    Where memory decides only the running service knows, so nothing is ruled out.
    """
    return spec.fit is not None or policy_of(spec).can_coexist(models)
