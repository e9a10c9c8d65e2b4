"""Who a model is as far as memory goes: what was learnt of one run holds for the next one of the same identity.

It changes with the command (but not with its port or its name), with the program (a new version), with the files of
the model (a new quantisation under the old name), and with the variables that llama.cpp and CUDA read.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from llama_swap.footprint.facts import ModelFacts

_UNIMPORTANT = {
    *("--port", "--host", "-a", "--alias", "--api-key", "--api-key-file", "--name", "--log-file", "--cidfile"),
    *("-to", "--timeout", "--threads-http", "--chat-template", "--chat-template-file", "--slot-save-path", "--path"),
}
"""Options with a value that has nothing to do with memory."""
_PORTS = re.compile(r"(--port[ =]+|https?://[\w.-]+:|\b127\.0\.0\.1:|\blocalhost:)\d+|^[\d.]*:?\d+:\d+$")
_VARIABLES = re.compile(r"(LLAMA|GGML|CUDA|HIP|HSA|ROCR|VLLM|PYTORCH|HF|GGUF)_\w+")
_OWN_VARIABLES = {"LLAMA_ARG_PORT", "LLAMA_ARG_HOST", "LLAMA_ARG_ALIAS", "LLAMA_API_KEY"}
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD")


def identity_of(facts: ModelFacts, files: Iterable[Path]) -> str:
    """The identity as a short text; looks at files, so it may block.

    Args:
        facts: its configuration.
        files: those that are known to be the model's; every word of the command that is a file counts, too.
    """
    digest = hashlib.sha256()
    for item in _items(facts, files):
        digest.update(item.encode("utf-8", "surrogateescape"))
        digest.update(b"\0")
    return digest.hexdigest()[:32]


def _items(facts: ModelFacts, files: Iterable[Path]) -> Iterator[str]:
    words = tuple(_without_ports(facts.argv))
    yield from words
    for name, value in sorted(facts.env.items()):
        if _VARIABLES.fullmatch(name) and name not in _OWN_VARIABLES and not _SECRET.search(name):
            yield f"{name}={value}"
    found = shutil.which(facts.argv[0], path=facts.env.get("PATH", os.defpath)) if facts.argv else None
    named = {Path(word) for word in words if PurePath(word).is_absolute()}
    for path in (*([Path(found)] if found else []), *sorted(named | set(files))):
        yield _mark(path)


def _without_ports(argv: tuple[str, ...]) -> Iterator[str]:
    words = iter(argv)
    for word in words:
        if word in _UNIMPORTANT:
            next(words, None)
        else:
            yield _PORTS.sub(r"\1", word)


def _mark(path: Path) -> str:
    """What changes with the contents of a file: where it really is, its size, its time."""
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError):
        return f"{path} is not there"
    return f"{real} {status.st_size} {status.st_mtime_ns}" if real.is_file() else str(real)
