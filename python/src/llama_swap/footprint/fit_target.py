"""Telling a llama-server that makes itself smaller how much of each device is to stay free."""

from collections.abc import Mapping

from llama_swap.footprint.commandline import find_server
from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.options import DEFAULT_FIT_TARGET_MIB, FIT_TARGET_NAMES, read_options

_MIB = 1 << 20
_FLAGS_AND_VARIABLE = frozenset(FIT_TARGET_NAMES)
_VARIABLE = FIT_TARGET_NAMES[-1]


def fit_target(argv: tuple[str, ...], env: Mapping[str, str], kept_bytes: int) -> dict[str, str]:
    """The variable that has ``--fit`` leave so much free; {} where it does so anyway, or somebody said how much.

    Without it a server takes all of a device but a GiB, whatever shall stay free there (llama.cpp, common/arg.cpp).

    Args:
        argv: the command.
        env: the environment that it is started with.
        kept_bytes: what is to stay free of each device.
    """
    wanted_mib = -(-kept_bytes // _MIB)
    if wanted_mib <= DEFAULT_FIT_TARGET_MIB:
        return {}
    try:
        command = find_server(argv, env)
        is_adaptable = read_options(command.arguments, command.env).is_adaptable
    except NotUnderstoodError:
        return {}
    words = {word.partition("=")[0].replace("_", "-") for word in command.arguments}
    is_said = _VARIABLE in command.env or not _FLAGS_AND_VARIABLE.isdisjoint(words)
    return {_VARIABLE: str(wanted_mib)} if is_adaptable and not is_said else {}
