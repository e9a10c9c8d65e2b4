"""A model's weights as they lie on the disk: one GGUF file, or one split into parts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llama_swap.footprint.gguf import GgufError, Tensor, Value, read_gguf

MAX_PARTS = 512

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """All parts of a model: the keys of the first one, the tensors of all."""

    metadata: Mapping[str, Value]
    lengths: Mapping[str, int]
    tensors: tuple[Tensor, ...]

    @property
    def tensor_bytes(self) -> int:
        """The size of all its tensors."""
        return sum(tensor.bytes for tensor in self.tensors)


def parts_of(path: Path) -> tuple[Path, ...]:
    """The file itself, or all parts of a split model, the first one first (``NAME-00001-of-00003.gguf``).

    Raises:
        GgufError: if the name speaks of more parts than anybody makes.
    """
    found = _PART.fullmatch(path.name)
    if found is None:
        return (path,)
    count = int(found["count"])
    if count > MAX_PARTS:
        raise GgufError(f"{path} is one of {count} parts; at most {MAX_PARTS} are read")
    return tuple(path.with_name(f"{found['stem']}-{n:05}-of-{count:05}.gguf") for n in range(1, count + 1)) or (path,)


def read_model_file(path: Path) -> ModelFile:
    """Read the headers of all parts.

    Raises:
        GgufError: if one of them is missing or damaged.
    """
    headers = []
    for part in parts_of(path):
        try:
            headers.append(read_gguf(part))
        except GgufError as error:
            raise GgufError(f"{part.name}: {error}") from error
    first = headers[0]
    return ModelFile(first.metadata, first.lengths, tuple(tensor for header in headers for tensor in header.tensors))
