"""The devices that a command names itself, so that they are not ours to choose.

A child that gets ``CUDA_VISIBLE_DEVICES`` from us counts its devices anew from 0. That is right for a command which
takes what it sees, and wrong for one that names devices: it is left alone, and what it names is read here. The flags
are those of llama-server (``tools/server/README.md`` of llama.cpp), the variables those of CUDA's driver.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from llama_swap.config.argv import split_words

EVERY_DEVICE = ("*",)
"""It may use any device, and we cannot choose for it."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
AS_THE_DRIVER = "PCI_BUS_ID"
"""The order in which NVML and nvidia-smi count devices; CUDA's own begins with the fastest."""

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash"})
_CONTAINERS = frozenset({"docker", "podman", "nerdctl"})
_DETACHED = frozenset({"systemd-run", "sudo", "doas", "ssh", "machinectl"})
"""What they start does not get our environment."""
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "LLAMA_ARG_DEVICE": ("--device", "-dev"),
    "LLAMA_ARG_N_GPU_LAYERS": ("--n-gpu-layers", "--gpu-layers", "-ngl"),
    "LLAMA_ARG_MAIN_GPU": ("--main-gpu", "-mg"),
    "LLAMA_ARG_SPLIT_MODE": ("--split-mode", "-sm"),
    "LLAMA_ARG_TENSOR_SPLIT": ("--tensor-split", "-ts"),
    "LLAMA_ARG_OVERRIDE_TENSOR": ("--override-tensor", "-ot"),
}
_CUDA = re.compile(r"cuda:?([0-9]+)", re.IGNORECASE)
_GPU = re.compile(r"[0-9]+|(?:GPU|MIG)-[0-9A-Za-z/-]+")
_ASSIGNED = re.compile(rf"(?:^|\s){VISIBLE}=(?:\"([^\"]*)\"|'([^']*)'|([^\s;]*))")

Devices = tuple[str, ...]


def devices_of(argv: Sequence[str], env: Mapping[str, str]) -> Devices | None:
    """The only devices a command can use, by number or UUID.

    Args:
        argv: the command.
        env: the environment it gets.

    Returns:
        None where it takes what it sees, () where it uses none, :data:`EVERY_DEVICE` where nobody can tell.
    """
    words = tuple(_words(argv))
    names = [PurePosixPath(word).name for word in words]
    programs = set(names if names[:1] and names[0] in _SHELLS else names[:1])
    if programs & _CONTAINERS:
        return _of_container(words)
    if programs & _DETACHED:
        return EVERY_DEVICE
    visible = _visible(_assigned(argv, env.get(VISIBLE)))
    if visible == ():
        return ()
    return _of_flags(words, env, visible)


def counts_devices(devices: Devices | None) -> bool:
    """Whether any device is named by its number, so that it matters where counting begins."""
    return any(device.isdecimal() for device in devices or ())


def _words(argv: Sequence[str]) -> Iterator[str]:
    """The arguments without an ``env A=B`` before them, and with the words of a script that a shell is given."""
    rest = list(argv)
    while rest and (PurePosixPath(rest[0]).name == "env" or re.match(r"[A-Za-z_]\w*=", rest[0])):
        rest = rest[1:]
    shell = bool(rest) and PurePosixPath(rest[0]).name in _SHELLS
    for word in rest:
        # A script is an argument with blanks in it; paths with blanks are split too, which does no harm here.
        yield from (split_words(word, {}) if shell else (word,))


def _assigned(argv: Sequence[str], inherited: str | None) -> str | None:
    """The variable as the command sets it (``env X=0 server``, ``sh -c 'X=0 server'``), else as it inherits it."""
    for word in argv:
        if found := _ASSIGNED.search(word):
            return next((group for group in found.groups() if group is not None), "")
    return inherited


def _visible(value: str | None) -> Devices | None:
    """What CUDA makes of the variable: the list ends at the first entry that is no device (CUDA C++ guide)."""
    if value is None:
        return None
    found: list[str] = []
    for entry in value.split(","):
        if not _GPU.fullmatch(entry.strip()):
            break
        found.append(entry.strip())
    return tuple(dict.fromkeys(found))


def _of_flags(words: Sequence[str], env: Mapping[str, str], visible: Devices | None) -> Devices | None:
    if _flag(words, env, "LLAMA_ARG_N_GPU_LAYERS") == "0":
        return ()
    given = _flag(words, env, "LLAMA_ARG_DEVICE")
    seen = visible if given is None else _named(given, visible)
    if seen in {(), EVERY_DEVICE}:
        return seen
    split = _flag(words, env, "LLAMA_ARG_TENSOR_SPLIT")
    if split is not None:
        return _numbered(_used_by_split(split), seen)
    main = _flag(words, env, "LLAMA_ARG_MAIN_GPU") or ""
    if main.isdecimal() and _flag(words, env, "LLAMA_ARG_SPLIT_MODE") == "none":
        return _numbered([int(main)], seen)
    # Either needs a device of this number to be there: hiding some from the command would break it.
    counts = main not in {"", "0"} or _CUDA.search(_flag(words, env, "LLAMA_ARG_OVERRIDE_TENSOR") or "")
    return EVERY_DEVICE if counts and seen is None else seen


def _named(given: str, visible: Devices | None) -> Devices | None:
    """The devices of ``--device``: ``CUDA0,CUDA1`` or ``none``; other programs write ``cuda:0``, ``0``, ``cpu``."""
    names = [name.strip() for name in given.split(",")]
    if names in (["none"], ["cpu"]):
        return ()
    if names in (["cuda"], ["auto"], ["gpu"]):
        return visible
    numbers = [_CUDA.fullmatch(name) or re.fullmatch(r"([0-9]+)", name) for name in names]
    if not all(numbers):
        return EVERY_DEVICE  # Vulkan and others count in an order of their own
    return _numbered((int(found[1]) for found in numbers if found), visible)


def _numbered(positions: Iterable[int], visible: Devices | None) -> Devices:
    """Devices by their number among those that the process sees."""
    found = [
        str(position) if visible is None else visible[position]
        for position in positions
        if visible is None or position < len(visible)
    ]
    return tuple(dict.fromkeys(found)) or EVERY_DEVICE


def _used_by_split(split: str) -> Iterator[int]:
    """The devices that get a part of the model: ``3,1`` is the first two, ``0,1`` only the second."""
    for position, part in enumerate(re.split(r"[,/]", split)):
        if part.strip().strip("0."):
            yield position


def _flag(words: Sequence[str], env: Mapping[str, str], variable: str) -> str | None:
    """The last value of a flag, else of the variable that stands for it."""
    found = env.get(variable)
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in _FLAGS[variable]:
            found = value if equals else next(iter(words[position + 1 : position + 2]), None)
    return found


def _of_container(words: Sequence[str]) -> Devices:
    """The devices that a container is given: ``--gpus device=0,1`` (docker), ``--device nvidia.com/gpu=0`` (CDI)."""
    found: list[str] = []
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        value = value if equals else next(iter(words[position + 1 : position + 2]), "")
        if name == "--gpus":
            ids = value.strip("\"'").removeprefix("device=").split(",")
        elif name == "--device" and "nvidia.com/gpu=" in word + value:
            ids = [value.rpartition("=")[2]]
        else:
            continue
        if not all(_GPU.fullmatch(each) for each in ids) or (name == "--gpus" and "device=" not in value):
            return EVERY_DEVICE
        found += ids
    return tuple(dict.fromkeys(found)) or EVERY_DEVICE
