"""Which running models must leave so that another may run: llama-swap's groups.

A model T of group G needs the members of G gone if G swaps, and the members of every other group gone if G is
exclusive, unless *their* group is persistent. A group that is not exclusive touches nothing outside itself, even
beside an exclusive model that runs already. Models in no group form one implicit group that swaps and is exclusive.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from llama_swap.scheduler.policy.ruling import Neighbours, RuleKind, Ruling
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

    def victims(self, target: str, neighbours: Neighbours) -> tuple[str, ...]:
        """The other models that must have exited before the target may start."""
        group = self._group_of(target)
        return tuple(model for model in neighbours.models if model != target and self._must_leave(model, group))

    def ruling(self, target: str, neighbours: Neighbours) -> Ruling:
        """The same with the group of the target and its settings."""
        group = self._group_of(target)
        flags = {"swap": group.swap, "exclusive": group.exclusive, "persistent": group.persistent}
        text = ", ".join(f"{name}: {str(is_set).lower()}" for name, is_set in flags.items())
        return Ruling(RuleKind.GROUP, self.victims(target, neighbours), group.name, text)

    def can_coexist(self, models: Collection[str]) -> bool:
        """Whether none of them has to leave for another."""
        everybody = Neighbours(tuple(models))
        return not any(self.victims(model, everybody) for model in models)

    def _group_of(self, model: str) -> GroupSpec:
        return self.group_by_model.get(model, _IMPLICIT)

    def _must_leave(self, model: str, newcomer: GroupSpec) -> bool:
        group = self._group_of(model)
        if group is newcomer:
            return newcomer.swap
        return newcomer.exclusive and not group.persistent
