"""What a llama-server will need, worked out from the header of its file and its options.

The formulas are those of llama.cpp's own allocations, checked against what it reports (docs/memory.md). They say what
it would take if memory were not short; where something is not understood, nothing is said at all.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.files import Invocation
from llama_swap.footprint.gguf import GgufError
from llama_swap.footprint.memory_use import (
    Context,
    Split,
    cache_of,
    context_of,
    placing_of,
    scratch_of,
    unpacked_of,
    weights_of,
)
from llama_swap.footprint.modelfile import ModelFile, read_model_file
from llama_swap.footprint.options import Options
from llama_swap.footprint.shape import Shape, shape_of
from llama_swap.scheduler.memory import Need, NeedSource

MIB = 1 << 20
DEVICE_CONTEXT_BYTES = 400 * MIB
"""What a process takes of each device before it does anything; 250 to 600 MiB were measured with CUDA and ROCm."""
PROGRAM_BYTES = 200 * MIB
"""The program itself, with the libraries of the driver."""
PROJECTOR_FACTOR = 4 / 3
"""A projector with its own buffers, of which 884 MiB in the file became 1158 (llama.cpp#19980)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of what is needed, for people."""

    what: str
    split: Split


def keeps_per_sequence(invocation: Invocation) -> bool:
    """Whether more sequences need more memory, even if they share one cache; True where that is not known."""
    try:
        return any(layer.window or layer.state_values for layer in shape_of(_read(invocation.model)).layers)
    except NotUnderstoodError:
        return True


def extras(invocation: Invocation) -> list[Part]:
    """What is loaded besides the model: the projector, the draft model, adapters, the layers that predict further.

    Raises:
        NotUnderstoodError: with the reason why not.
    """
    options = invocation.options
    if not (invocation.projector or invocation.draft or options.lora or options.predicts_further):
        return []
    file = _read(invocation.model)
    shape = shape_of(file)
    context = context_of(shape, options)
    parts = _prediction_parts(file, shape, context, options)
    return [*parts, *_extra_parts(invocation, context)]


def estimate(invocation: Invocation) -> Need:
    """Work out what a llama-server needs.

    Raises:
        NotUnderstoodError: with the reason why not.
    """
    options = invocation.options
    file = _read(invocation.model)
    shape = shape_of(file)
    context = context_of(shape, options)
    scratch = scratch_of(shape, context, options)
    no_device = options.uses_no_device
    parts = _model_parts(file, shape, context, options, "")
    parts += _prediction_parts(file, shape, context, options)
    parts += _extra_parts(invocation, context)
    parts.append(Part(f"scratch for {context.ubatch} tokens", Split(0, scratch) if no_device else Split(scratch)))
    if not no_device:
        parts.append(Part("the driver's own", Split(DEVICE_CONTEXT_BYTES)))
    parts.append(Part("the program", Split(0, PROGRAM_BYTES)))
    return _need(parts, per_device=0 if no_device else DEVICE_CONTEXT_BYTES + scratch)


def least(invocation: Invocation) -> int:
    """What stays on devices when ``--fit`` has made a llama-server as small as it can.

    It shortens the context first, and then moves layers to the host, each where the command leaves that to it
    (``common_fit_params`` in common/fit.cpp).

    Raises:
        NotUnderstoodError: with the reason why this is not known.
    """
    options = invocation.options
    file = _read(invocation.model)
    shape = shape_of(file)
    if options.ctx_size is None and not options.ctx_per_slot:
        shortest = min(options.fit_ctx, shape.ctx_train) or options.fit_ctx
        options = replace(options, ctx_size=shortest)
    context = context_of(shape, options)
    parts = _extra_parts(invocation, context) + _prediction_parts(file, shape, context, options)
    if not options.moves_layers:
        parts += _model_parts(file, shape, context, options, "")
    return sum(part.split.device for part in parts) + scratch_of(shape, context, options) + DEVICE_CONTEXT_BYTES


def _model_parts(file: ModelFile, shape: Shape, context: Context, options: Options, whose: str) -> list[Part]:
    placing = placing_of(shape, options.gpu_layers, no_device=options.uses_no_device)
    trunk = len(shape.layers) - shape.draft_layers
    cache = cache_of(range(trunk), shape, context, placing, options)
    kinds = options.type_k if options.type_k == options.type_v else f"{options.type_k}/{options.type_v}"
    parts = [Part(f"{whose}weights", weights_of(file, placing, options, range(trunk)))]
    if shape.has_cache:
        parts.append(Part(f"{whose}KV cache ({context.cells} cells, {kinds})", cache))
    if unpacked := unpacked_of(shape, context, options):
        parts.append(Part(f"{whose}KV cache of a layer, unpacked", _where(unpacked, options)))
    return parts


def _prediction_parts(file: ModelFile, shape: Shape, context: Context, options: Options) -> list[Part]:
    """The layers at the end that predict further tokens (MTP), in a context of their own."""
    if not options.predicts_further or not shape.draft_layers:
        return []
    placing = placing_of(shape, options.gpu_layers, no_device=options.uses_no_device)
    count = len(shape.layers)
    size = weights_of(file, placing, options, range(count - shape.draft_layers, count))
    size += cache_of(range(count - shape.draft_layers, count), shape, context, placing, options)
    return [Part("multi-token prediction", size + _where(scratch_of(shape, context, options), options))]


def _where(size: int, options: Options) -> Split:
    return Split(0, size) if options.uses_no_device else Split(size)


def _extra_parts(invocation: Invocation, context: Context) -> list[Part]:
    """The projector, the draft model, the adapters."""
    options, parts = invocation.options, []
    if invocation.projector is not None:
        size = int(_read(invocation.projector).tensor_bytes * PROJECTOR_FACTOR)
        on_host = options.uses_no_device or not options.mmproj_offload
        parts.append(Part("multimodal projector", Split(0, size) if on_host else Split(size)))
    if invocation.draft is not None:
        file = _read(invocation.draft)
        shape = shape_of(file)
        drafting = replace(
            options,
            gpu_layers=options.draft_gpu_layers,
            type_k=options.draft_type_k,
            type_v=options.draft_type_v,
            overrides=(),
            cpu_moe_layers=0,
            cpu_ffn_layers=0,
            spec_type="",
        )
        parts += _model_parts(file, shape, context, drafting, "draft model's ")
        parts.append(Part("draft model's scratch", _where(scratch_of(shape, context, drafting), drafting)))
    if options.lora:
        parts.append(Part("adapters", _where(sum(_read(Path(name)).tensor_bytes for name in options.lora), options)))
    return parts


def _need(parts: list[Part], per_device: int) -> Need:
    on_device = [(part.what, part.split.device) for part in parts if part.split.device]
    on_host = [(_on_host(part), part.split.host) for part in parts if part.split.host]
    return Need(
        NeedSource.ESTIMATED,
        device_bytes=sum(size for _, size in on_device),
        host_bytes=sum(size for _, size in on_host),
        per_device_bytes=per_device,
        parts=(*on_device, *on_host),
    )


def _on_host(part: Part) -> str:
    return f"{part.what} on the host" if part.split.device else part.what


def _read(path: Path) -> ModelFile:
    try:
        return read_model_file(path)
    except GgufError as error:
        raise NotUnderstoodError(str(error)) from error
