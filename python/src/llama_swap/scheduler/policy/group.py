"""Which running models must leave so that another may run: llama-swap's groups.

A model T of group G needs the members of G gone if G swaps, and the members of every other group gone if G is
exclusive, unless *their* group is persistent. A group that is not exclusive touches nothing outside itself, even
beside an exclusive model that runs already. Models in no group form one implicit group that swaps and is exclusive.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from llama_swap.scheduler.spec import GroupSpec

_IMPLICIT = GroupSpec(name="(default)", members=())


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """The group rules of one configuration."""

    group_by_model: dict[str, GroupSpec]

    @classmethod
    def of(cls, groups: Iterable[GroupSpec]) -> "GroupPolicy":
        """Compile the groups of a configuration."""
        return cls({member: group for group in groups for member in group.members})

    def victims(self, target: str, running: Iterable[str]) -> tuple[str, ...]:
        """The running models, other than the target, that must have exited before it may start."""
        group = self.group_by_model.get(target, _IMPLICIT)
        return tuple(model for model in running if model != target and self._must_leave(model, group))

    def _must_leave(self, model: str, newcomer: GroupSpec) -> bool:
        group = self.group_by_model.get(model, _IMPLICIT)
        if group is newcomer:
            return newcomer.swap
        return newcomer.exclusive and not group.persistent
