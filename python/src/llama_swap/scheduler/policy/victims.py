"""The cheapest set of models whose leaving makes enough room."""

from collections.abc import Callable, Mapping, Sequence

EXACT = 12
"""Up to so many models every set is weighed; beyond, they are taken one by one."""

_EACH = 1e-6
"""What each victim costs besides, so that nobody leaves in vain where evicting costs nothing."""


def cheapest(costs: Mapping[str, float], suffices: Callable[[Sequence[str]], bool]) -> tuple[str, ...] | None:
    """The set that costs least of those that suffice; None where even all together do not.

    Args:
        costs: what each may cost, 0 or more.
        suffices: whether the leaving of these is enough; it stays enough when more leave.
    """
    if suffices(()):
        return ()
    models = sorted(costs, key=lambda model: (costs[model], model))
    if not suffices(models):
        return None
    known = _one_by_one(models, suffices)
    return _best(models, costs, suffices, known) if len(models) <= EXACT else known


def _one_by_one(models: Sequence[str], suffices: Callable[[Sequence[str]], bool]) -> tuple[str, ...]:
    """The cheap ones until it is enough, without those that prove needless."""
    taken: list[str] = []
    for model in models:
        taken.append(model)
        if suffices(taken):
            break
    for model in reversed(tuple(taken)):
        rest = [other for other in taken if other != model]
        if suffices(rest):
            taken = rest
    return tuple(taken)


def _best(
    models: Sequence[str],
    costs: Mapping[str, float],
    suffices: Callable[[Sequence[str]], bool],
    known: tuple[str, ...],
) -> tuple[str, ...]:
    """Go through the sets, leaving out those that cost as much as what is known or can never suffice."""
    best, best_cost = known, _total(known, costs)
    open_sets: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    while open_sets:
        index, chosen = open_sets.pop()
        if index == len(models) or not suffices((*chosen, *models[index:])):
            continue
        grown = (*chosen, models[index])
        cost = _total(grown, costs)
        open_sets.append((index + 1, chosen))
        if cost >= best_cost:
            continue
        if suffices(grown):
            best, best_cost = grown, cost
        else:
            open_sets.append((index + 1, grown))
    return best


def _total(models: Sequence[str], costs: Mapping[str, float]) -> float:
    return sum(costs[model] + _EACH for model in models)
