"""Which name means which model, and which known name a user may have meant."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llama_swap.config.problems import KeyPath

MOST_SHOWN = 12
"""Names that one message lists."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule at a path; becomes a :class:`llama_swap.config.problems.Problem` once its place is looked up.

    Attributes:
        needs: other paths; what is wrong there may be the only cause of this.
    """

    path: KeyPath
    rule: str
    fix: str = ""
    needs: tuple[KeyPath, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedModel:
    """The names one model claims.

    Attributes:
        param_ids: the keys of ``filters.setParamsByID``.
    """

    aliases: Sequence[str]
    param_ids: Sequence[str]


def nearest_name(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The known name most like ``name``, whatever its case, or None if none is alike.

    Args:
        name: what was written.
        known: what it may stand for.
        likeness: from 0 (nothing in common) to 1 (equal), as :mod:`difflib` measures it.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    by_folded = {candidate.casefold(): candidate for candidate in known}
    found = get_close_matches(name.casefold(), by_folded, n=1, cutoff=likeness)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question to end an error with; empty if no known name is alike."""
    near = nearest_name(name, known)
    return f'did you mean "{near}"?' if near else ""


def suggest(name: str, known: Iterable[str]) -> str:
    """What may be meant by an unknown name: the nearest known one, else the first few of all."""
    names = sorted(known)
    if near := did_you_mean(name, names):
        return near
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"known: {', '.join(names[:MOST_SHOWN]) or 'none'}{more}"


def accepted_names(models: Mapping[str, NamedModel]) -> tuple[dict[str, str], list[Finding]]:
    """Every accepted name and the ID it means, and what is wrong with names that two models claim.

    Stricter than llama-swap, where an alias that equals another model's ID is shadowed by it without a word.
    """
    names = {model_id: model_id for model_id in sorted(models)}
    found = [*_add_aliases(models, names), *_add_param_ids(models, names)]
    return names, found


def _add_aliases(models: Mapping[str, NamedModel], names: dict[str, str]) -> Iterator[Finding]:
    for model_id in sorted(models):
        own: set[str] = set()
        for index, alias in enumerate(models[model_id].aliases):
            path = ("models", model_id, "aliases", index)
            owner = names.get(alias)
            if not alias.strip():
                yield Finding(path, "an alias must not be empty")
            elif alias in models and alias != model_id:
                yield Finding(path, f"alias {alias} is the ID of another model", "choose another name")
            elif owner not in {None, model_id} or alias in own:
                rule = f"duplicate alias {alias} found in model: {model_id}"
                yield Finding(path, rule, f"it already belongs to model {owner}")
            else:
                own.add(alias)
                names[alias] = model_id


def _add_param_ids(models: Mapping[str, NamedModel], names: dict[str, str]) -> Iterator[Finding]:
    for model_id in sorted(models):
        for key in models[model_id].param_ids:
            path = ("models", model_id, "filters", "setParamsByID", key)
            owner = names.setdefault(key, model_id)
            if owner == model_id:
                continue
            if key in models:
                rule = f"model {model_id} filters.setParamsByID: key '{key}' conflicts with an existing model ID"
            else:
                rule = (
                    f"duplicate alias '{key}' in model {model_id} filters.setParamsByID, already used by model {owner}"
                )
            yield Finding(path, rule, "choose another name")
