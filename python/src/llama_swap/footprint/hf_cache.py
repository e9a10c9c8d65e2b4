"""Where ``--hf-repo`` keeps its files: the folder of the Hugging Face hub (common/hf-cache.cpp, common/download.cpp).

Only what lies there already is looked at; what the server would fetch or choose anew is not known before it did.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from llama_swap.footprint.facts import NotUnderstoodError

MAX_FILES = 2000

_FOLDERS = (
    ("LLAMA_CACHE", ""),
    ("HF_HUB_CACHE", ""),
    ("HUGGINGFACE_HUB_CACHE", ""),
    ("HF_HOME", "hub"),
    ("XDG_CACHE_HOME", "huggingface/hub"),
    ("HOME", ".cache/huggingface/hub"),
)
_REPOSITORY = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(:(?P<tag>[\w.-]+))?")
_DEFAULT_TAGS = ("Q4_K_M", "Q8_0")
_NO_MODEL = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
_REVISION = re.compile(r"[0-9a-f]{4,64}")


def cached_model(repository: str, file: str, env: Mapping[str, str]) -> Path:
    """The file of a model that was fetched before.

    Args:
        repository: ``owner/name`` or ``owner/name:tag``, as after ``-hf``.
        file: as after ``--hf-file``; "" is the one that the tag or llama.cpp's preference names.
        env: names the folder.

    Raises:
        NotUnderstoodError: if it is not there.
    """
    named = _REPOSITORY.fullmatch(repository)
    if named is None:
        raise NotUnderstoodError(f"--hf-repo {repository!r} is not understood")
    files = _files(named["name"], env)
    if file:
        found = [path for path in files if path.as_posix().endswith(f"/{file}")]
    else:
        found = _preferred([path for path in files if _is_model(path)], named["tag"])
    if not found:
        raise NotUnderstoodError(f"{repository} has not been fetched yet")
    return found[0]


def cached_projector(model: Path) -> Path | None:
    """The multimodal projector that ``-hf`` takes along; the largest where there are several."""
    beside = [path for path in model.parent.glob("*mmproj*.gguf") if path.is_file()]
    return max(beside, key=lambda path: path.stat().st_size, default=None)


def _files(name: str, env: Mapping[str, str]) -> list[Path]:
    """The files of the newest fetched revision, in the order of their names."""
    root = _root(env) / f"models--{name.replace('/', '--')}"
    try:
        revision = (root / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise NotUnderstoodError(f"{name} has not been fetched yet") from error
    if not _REVISION.fullmatch(revision):
        raise NotUnderstoodError(f"the cache of {name} is damaged")
    found = []
    for path in (root / "snapshots" / revision).rglob("*.gguf"):
        found.append(path)
        if len(found) > MAX_FILES:
            raise NotUnderstoodError(f"{name} has more than {MAX_FILES} files")
    return sorted(found)


def _root(env: Mapping[str, str]) -> Path:
    for variable, below in _FOLDERS:
        if value := env.get(variable):
            return Path(value) / below
    raise NotUnderstoodError("no variable names the folder that models are fetched to")


def _is_model(path: Path) -> bool:
    return not any(word in path.name for word in _NO_MODEL) and not _LATER_PART.search(path.name)


def _preferred(files: list[Path], tag: str | None) -> list[Path]:
    for wanted in (tag,) if tag else _DEFAULT_TAGS:
        pattern = re.compile(re.escape(wanted) + "[.-]", re.IGNORECASE)
        if found := [path for path in files if pattern.search(path.as_posix())]:
            return found
    return [] if tag else files
