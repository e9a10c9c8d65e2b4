"""Rules about who may run beside whom and who is served next: routers, groups, the matrix, priorities."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from llama_swap.config.names import Finding, did_you_mean, suggest
from llama_swap.config.problems import KeyPath
from llama_swap.config.schema import ConfigFile
from llama_swap.config.schema_routing import GroupSection, MatrixSection
from llama_swap.scheduler.policy.matrix import MatrixPolicy
from llama_swap.scheduler.policy.sets import MatrixError, Part, check_matrix
from llama_swap.scheduler.spec import MatrixSpec, TieBreak

ROUTER = ("routing", "router")
ROUTER_GROUPS = (*ROUTER, "settings", "groups")
ROUTER_MATRIX = (*ROUTER, "settings", "matrix")
FIFO = ("routing", "scheduler", "settings", "fifo")
MOVE = "move them to routing.router.settings"

Groups = tuple[Mapping[str, GroupSection], KeyPath]
Matrix = tuple[MatrixSection, KeyPath]


class Router(StrEnum):
    """Who decides who may run beside whom."""

    AUTO = "auto"  # memory where it can be measured, else one model at a time
    FIT = "fit"
    GROUP = "group"
    MATRIX = "matrix"


def router_in_force(file: ConfigFile) -> Router:
    """The one that decides; `auto` only where nothing is written that would make it one of llama-swap's."""
    router = file.routing.router
    if file.matrix is not None:
        return Router.MATRIX
    if router.use not in set(Router):
        return Router.GROUP
    written = file.groups or router.settings.groups or router.settings.matrix is not None
    return Router.GROUP if router.use == Router.AUTO and written else Router(router.use)


def groups_in_force(file: ConfigFile) -> Groups:
    """The groups, in whichever of the two spellings, and where they stand; none where something else decides."""
    if router_in_force(file) is not Router.GROUP:
        return {}, ROUTER_GROUPS
    return (file.groups, ("groups",)) if file.groups else (file.routing.router.settings.groups, ROUTER_GROUPS)


def matrix_in_force(file: ConfigFile) -> Matrix | None:
    """The matrix, in whichever of the two spellings, and where it stands; None where something else decides."""
    if file.matrix is not None:
        return file.matrix, ("matrix",)
    router = file.routing.router
    return (router.settings.matrix, ROUTER_MATRIX) if router.use == "matrix" and router.settings.matrix else None


def matrix_spec(section: MatrixSection) -> MatrixSpec:
    """The matrix as the scheduler knows it."""
    return MatrixSpec(section.sets, section.vars, section.evict_costs, TieBreak(section.tie_break))


def check_routing(file: ConfigFile, names: Mapping[str, str]) -> Iterator[Finding]:
    """Every broken rule of what is in force."""
    yield from _check_use(file)
    groups, path = groups_in_force(file)
    yield from _check_groups(groups, path, file, names)
    if (matrix := matrix_in_force(file)) is not None:
        yield from _check_matrix(*matrix, file, names)
    yield from _check_scheduler(file, names)


def check_idle_routing(file: ConfigFile, names: Mapping[str, str]) -> Iterator[Finding]:
    """Every broken rule of settings that `routing.router.use` leaves out of force, as llama-swap allows."""
    settings, use = file.routing.router.settings, file.routing.router.use
    idle: list[Finding] = []
    if use in {Router.MATRIX, Router.FIT}:
        idle += _check_groups(settings.groups, ROUTER_GROUPS, file, names)
    if use != Router.MATRIX and settings.matrix is not None:
        idle += _check_matrix(settings.matrix, ROUTER_MATRIX, file, names)
    for found in idle:
        yield Finding(found.path, f"not in use, else wrong: {found.rule}", found.fix, found.needs)
    written = (ROUTER_GROUPS, settings.groups), (ROUTER_MATRIX, settings.matrix)
    for path in (path for path, value in written if use == Router.FIT and value):
        rule = "not in use: memory decides, since routing.router.use is 'fit'"
        yield Finding(path, rule, f"remove it, or let it decide: use: {'group' if path[-1] == 'groups' else 'matrix'}")


def _check_use(file: ConfigFile) -> Iterator[Finding]:
    router = file.routing.router
    legacy = [key for key, given in (("groups", bool(file.groups)), ("matrix", file.matrix is not None)) if given]
    modern = "use" in router.model_fields_set or router.settings.groups or router.settings.matrix is not None
    if legacy and modern:
        keys = " and ".join(f"`{key}`" for key in legacy)
        rule = f"config uses both the legacy top-level {keys} and the new `routing.router` block"
        yield Finding((legacy[0],), rule, MOVE)
    if len(legacy) > 1:
        yield Finding(("matrix",), "config cannot use both 'groups' and 'matrix'", "keep one of them")
    if router.use not in set(Router):
        rule = f'unknown router "{router.use}" (valid: {", ".join(Router)})'
        yield Finding((*ROUTER, "use"), rule, did_you_mean(router.use, Router))
    elif router.use == "matrix" and router.settings.matrix is None and file.matrix is None:
        rule = "routing.router.use is 'matrix' but routing.router.settings.matrix is not set"
        yield Finding((*ROUTER, "use"), rule, "matrix: {sets: {NAME: EXPRESSION}}", (ROUTER_MATRIX,))


def _check_scheduler(file: ConfigFile, names: Mapping[str, str]) -> Iterator[Finding]:
    scheduler = file.routing.scheduler
    if scheduler.use != "fifo":
        yield Finding(("routing", "scheduler", "use"), f'unknown scheduler "{scheduler.use}" (valid: fifo)')
    given: dict[str, str] = {}
    for name in scheduler.settings.fifo.priority:
        path = (*FIFO, "priority", name)
        if name not in names:
            yield unknown_model(path, name, names)
        elif (other := given.setdefault(names[name], name)) != name:
            yield Finding(path, f"model {names[name]} has a priority already, as {other}", "keep one")


def _check_groups(
    groups: Mapping[str, GroupSection], path: KeyPath, file: ConfigFile, names: Mapping[str, str]
) -> Iterator[Finding]:
    owner: dict[str, str] = {}
    for name, group in groups.items():
        for index, member in enumerate(group.members):
            at = (*path, name, "members", index)
            if member not in file.models and member in names:
                yield Finding(at, f"{member} is an alias; a group has IDs of models", f"write {names[member]}")
            elif member not in file.models:
                yield unknown_model(at, member, file.models)
            elif owner.get(member) == name:
                yield Finding(at, f"duplicate model member {member} found in group: {name}", "remove one")
            elif member in owner:
                rule = f"model member {member} is used in multiple groups: {owner[member]} and {name}"
                yield Finding(at, rule, "keep it in one")
            else:
                owner[member] = name


def _check_matrix(
    matrix: MatrixSection, path: KeyPath, file: ConfigFile, names: Mapping[str, str]
) -> Iterator[Finding]:
    for error in check_matrix(matrix_spec(matrix), file.models):
        part: KeyPath = (*path, error.part)
        at = (*part, error.name) if error.name else path
        yield Finding(
            at, f"matrix: {error.message}", _matrix_fix(error, matrix, file, names), () if error.name else (part,)
        )


def _matrix_fix(error: MatrixError, matrix: MatrixSection, file: ConfigFile, names: Mapping[str, str]) -> str:
    """Where in an expression the mistake is, and what may be meant."""
    at = "" if error.position is None else f"character {error.position + 1} of the expression"
    if not error.name:
        return "sets: {NAME: EXPRESSION}, as in sets: {all: a & b}"
    if error.part is Part.VARS:
        meant = matrix.vars[error.name]
        hint = f"write {names[meant]}, of which it is an alias" if meant in names else did_you_mean(meant, file.models)
        return hint if meant not in file.models else ""
    if "unexpected character" in error.message:
        return f"{at}; a model whose ID has other characters needs a short name in vars"
    unknown = _quoted_name(error.message)
    known = [*matrix.sets] if "undefined set" in error.message else [*matrix.vars, *file.models]
    near = did_you_mean(unknown, known) if "unknown" in error.message or "undefined" in error.message else ""
    return ", ".join(filter(None, (near, at)))


def _quoted_name(message: str) -> str:
    """The last name in quotes, which is the unknown one."""
    return message.rsplit('"', 2)[-2] if message.count('"') > 1 else ""


def check_coexistence(path: KeyPath, targets: tuple[str, ...], file: ConfigFile) -> Iterator[Finding]:
    """Models that one selector may run at once must be allowed to run at once."""
    if len(targets) <= 1:
        return
    if (matrix := matrix_in_force(file)) is not None:
        spec = matrix_spec(matrix[0])
        if not check_matrix(spec, file.models) and not MatrixPolicy.of(spec, file.models).can_coexist(targets):
            rule = "spillover targets must all appear together in one expanded matrix set"
            yield Finding(path, rule, "add a set: " + " & ".join(targets))
        return
    if router_in_force(file) is not Router.GROUP:
        return  # memory decides; `check_advice` has what is to be said where it cannot be measured
    groups, _ = groups_in_force(file)
    group_of = {member: name for name, group in groups.items() for member in group.members}
    home = group_of.get(targets[0])
    if home is None:
        rule = f'spillover target "{targets[0]}" is not in a routing group'
        yield Finding(path, rule, "put the targets into one group with `swap: false`")
    elif groups[home].swap:
        yield Finding(path, "spillover targets must share a group with swap: false", f"set it for group {home}")
    elif any(group_of.get(target) != home for target in targets):
        yield Finding(path, "spillover targets must share one routing group", f"put all of them into group {home}")


def unknown_model(path: KeyPath, name: str, known: Mapping[str, object]) -> Finding:
    """The finding about a name that no model has."""
    return Finding(path, f'unknown model "{name}"', suggest(name, known))
