"""The parts of a model's memory: tensors, cache, scratch; each split between devices and the host."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.ggml_types import CACHE_TYPES
from llama_swap.footprint.modelfile import ModelFile
from llama_swap.footprint.options import EVERY_LAYER, Options
from llama_swap.footprint.shape import Layer, Shape

_EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")
_DENSE = re.compile(r"\.ffn_(up|down|gate)\.")
_BLOCK = re.compile(r"blk\.(\d+)\.")
_INPUTS = ("token_embd", "per_layer_token_embd")
_CELLS_STEP = 256
_FLOAT_BYTES = 4
_HALF_BYTES = 2


@dataclass(frozen=True, slots=True)
class Split:
    """Bytes on devices, and bytes of the host."""

    device: int = 0
    host: int = 0

    def __add__(self, other: "Split") -> "Split":
        return Split(self.device + other.device, self.host + other.host)

    @property
    def total(self) -> int:
        """Wherever they are."""
        return self.device + self.host


@dataclass(frozen=True, slots=True)
class Context:
    """How much is remembered, as llama_context works it out (src/llama-context.cpp).

    Attributes:
        tokens: of one sequence, or of all together where they share one cache.
        streams: caches of that size.
        sequences: decoded at once.
    """

    tokens: int
    streams: int
    sequences: int
    ubatch: int

    @property
    def cells(self) -> int:
        """Tokens in all caches."""
        return self.tokens * self.streams

    def window_cells(self, window: int) -> int:
        """Tokens that a layer with a sliding window keeps (src/llama-kv-cache-iswa.cpp)."""
        wanted = window * (self.sequences if self.streams == 1 else 1) + self.ubatch
        return _padded(min(self.tokens, wanted)) * self.streams


def context_of(shape: Shape, options: Options) -> Context:
    """The context that the options ask for, if memory is not short."""
    sequences = options.sequences
    total = options.ctx_size or options.ctx_per_slot * sequences or shape.ctx_train
    if total <= 0:
        raise NotUnderstoodError("its context length is not known")
    total = _padded(total)
    ubatch = min(options.ubatch or options.batch, options.batch, total)
    if options.is_unified:
        return Context(total, 1, sequences, ubatch)
    return Context(_padded(total // sequences), sequences, sequences, ubatch)


def _padded(tokens: int) -> int:
    return max(-(-tokens // _CELLS_STEP), 1) * _CELLS_STEP


@dataclass(frozen=True, slots=True)
class Placing:
    """Which layers are on devices: the last ones, the output being the very last (``load_tensors``)."""

    layers: int
    first_on_device: int

    def is_on_device(self, layer: int) -> bool:
        """Whether a layer is; the one after the last is the output."""
        return layer >= self.first_on_device


def placing_of(shape: Shape, gpu_layers: int | None, *, no_device: bool) -> Placing:
    """Where the layers go if all fit."""
    count = len(shape.layers)
    offloaded = 0 if no_device else EVERY_LAYER if gpu_layers is None else gpu_layers
    return Placing(count, max(count + 1 - offloaded, 0) if offloaded else EVERY_LAYER)


def weights_of(file: ModelFile, placing: Placing, options: Options, layers: range) -> Split:
    """Where the tensors of these layers go, and with the first layer those that belong to none.

    The input embedding always stays on the host; it is on the device a second time where the output shares it. Mapped
    and only looked up, it costs the host next to nothing; the rest of what is on the host is used for every token.
    """
    overrides = _compiled(options)
    device = host = 0
    has_output = any(tensor.name == "output.weight" for tensor in file.tensors)
    for tensor in file.tensors:
        block = _BLOCK.match(tensor.name)
        layer = int(block[1]) if block else placing.layers
        if layer not in layers if block else 0 not in layers:
            continue
        if tensor.name.startswith(_INPUTS):
            shares = not has_output and tensor.name == "token_embd.weight" and placing.is_on_device(placing.layers)
            device += tensor.bytes if shares else 0
            host += tensor.bytes if options.unmapped or not placing.is_on_device(placing.layers) else 0
        elif placing.is_on_device(layer) and not _is_kept_on_host(tensor.name, layer, overrides, options):
            device += tensor.bytes
        else:
            host += tensor.bytes
    return Split(device, host)


Overrides = list[tuple[re.Pattern[str], bool]]


def _compiled(options: Options) -> Overrides:
    """The patterns of ``--override-tensor``, each with whether it means the host."""
    try:
        return [(re.compile(pattern), buffer.upper().startswith("CPU")) for pattern, buffer in options.overrides]
    except re.error as error:
        raise NotUnderstoodError(f"--override-tensor is not understood: {error}") from error


def _is_kept_on_host(name: str, layer: int, overrides: Overrides, options: Options) -> bool:
    """Whether a tensor stays on the host although its layer is on a device; the first pattern that fits decides."""
    for pattern, is_host in overrides:
        if pattern.search(name):
            return is_host
    if layer < options.cpu_moe_layers and _EXPERTS.search(name):
        return True
    return layer < options.cpu_ffn_layers and _DENSE.search(name) is not None


def cache_of(layers: range, shape: Shape, context: Context, placing: Placing, options: Options) -> Split:
    """Keys and values of these layers, and the fixed states of the recurrent ones among them."""
    key, value = CACHE_TYPES[options.type_k], CACHE_TYPES[options.type_v]
    found = Split()
    for at in layers if shape.has_cache else ():
        layer = shape.layers[at]
        size = key.row_bytes(layer.key_values) + value.row_bytes(layer.value_values)
        size = size * cells_of(layer, context, options) + layer.state_values * _FLOAT_BYTES * context.sequences
        found += Split(size) if placing.is_on_device(at) and options.kv_offload else Split(0, size)
    return found


def cells_of(layer: Layer, context: Context, options: Options) -> int:
    """Tokens that a layer keeps."""
    return context.window_cells(layer.window) if layer.window and not options.swa_full else context.cells


def scratch_of(shape: Shape, context: Context, options: Options) -> int:
    """The buffer of intermediate results, as ggml's allocator makes it for one full batch of a prompt.

    It is as large as its largest moment needs: the feed-forward part (its three results beside five of the width of
    the model, and those of each expert), the attention (without flash attention with all scores), or the output for
    every token of the batch. Newer servers compute the output only for the last tokens; older ones do not, and the
    difference is small. tests/llama_cpp/test_footprint.py compares it with what llama.cpp says.
    """
    tokens = context.ubatch
    kinds = {
        layer.window: cells_of(layer, context, options) // context.streams for layer in shape.layers if layer.key_values
    }
    cells = list(kinds.values())
    dense = options.flash_attention.lower() in {"off", "0", "false", "disabled"}
    masks = sum(cells) * tokens * (_FLOAT_BYTES if dense else _HALF_BYTES)
    widest = max((layer.key_values for layer in shape.layers), default=0)
    stream = 5 * shape.embedding
    feed_forward = 3 * shape.feed_forward + shape.experts_used * shape.embedding
    attention = 2 * shape.heads * shape.head_values + 2 * widest
    scores = shape.heads * max(cells, default=0) if dense else 0
    most = max(feed_forward, attention + scores, shape.vocabulary, max(_state_widths(shape), default=0))
    return masks + tokens * _FLOAT_BYTES * (stream + most)


def _state_widths(shape: Shape) -> Iterator[int]:
    """Numbers that a recurrent layer makes for a token: what it expands its input to, and several parts of that."""
    return (11 * shape.embedding for layer in shape.layers if layer.state_values)


def unpacked_of(shape: Shape, context: Context, options: Options) -> int:
    """The cache of one layer in full precision, which flash attention makes of a quantised one (ggml-cuda/fattn)."""
    if options.type_k in {"f16", "bf16"} and options.type_v in {"f16", "bf16"}:
        return 0
    return max(
        (cells_of(one, context, options) * (one.key_values + one.value_values) * _HALF_BYTES for one in shape.layers),
        default=0,
    )
