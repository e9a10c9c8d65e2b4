"""The files that a model is started from, found on its command line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llama_swap.footprint.commandline import ServerCommand, find_server
from llama_swap.footprint.facts import ModelFacts, NotUnderstoodError
from llama_swap.footprint.gguf import GgufError
from llama_swap.footprint.hf_cache import cached_model, cached_projector
from llama_swap.footprint.modelfile import parts_of
from llama_swap.footprint.options import Options, read_options


@dataclass(frozen=True, slots=True)
class Invocation:
    """A llama-server's command line, read, with the files it names.

    Attributes:
        projector: the multimodal projector.
        draft: the model that drafts tokens for it.
    """

    command: ServerCommand
    options: Options
    model: Path
    projector: Path | None = None
    draft: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them with all their parts, in the order in which they are loaded."""
        return tuple(self._files())

    def _files(self) -> Iterator[Path]:
        for path in (self.model, self.draft, self.projector):
            if path is not None:
                yield from _parts(path)
        yield from (Path(name) for name in self.options.lora)


def read_invocation(facts: ModelFacts) -> Invocation:
    """Read a model's command.

    Raises:
        NotUnderstoodError: if it is no llama-server, or it is not certain which files it will load.
    """
    command = find_server(facts.argv, facts.env)
    options = read_options(command.arguments, command.env)
    if options.rpc:
        raise NotUnderstoodError("it also computes on other machines (--rpc)")
    model = _model(options, command)
    return Invocation(command, options, model, _projector(options, model), _draft(options, command))


def _model(options: Options, command: ServerCommand) -> Path:
    if options.model:
        return _existing(options.model)
    if options.hf_repo:
        return cached_model(options.hf_repo, options.hf_file, command.env)
    if options.model_url:
        raise NotUnderstoodError("its model is fetched from a URL")
    raise NotUnderstoodError("its command names no model file")


def _projector(options: Options, model: Path) -> Path | None:
    if options.mmproj:
        return _existing(options.mmproj)
    if options.hf_repo and not options.model and options.mmproj_auto:
        return cached_projector(model)
    return None


def _draft(options: Options, command: ServerCommand) -> Path | None:
    if options.draft_model:
        return _existing(options.draft_model)
    if options.draft_hf_repo:
        return cached_model(options.draft_hf_repo, "", command.env)
    return None


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise NotUnderstoodError(f"the file {name} is not there")
    return path


def _parts(path: Path) -> tuple[Path, ...]:
    try:
        return parts_of(path)
    except GgufError as error:
        raise NotUnderstoodError(str(error)) from error
