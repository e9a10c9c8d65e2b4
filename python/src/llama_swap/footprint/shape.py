"""What a model remembers, read from the header of its file: which layers keep keys and values, which a fixed state.

llama.cpp chooses the kind of memory by the architecture (``llama_model::create_memory`` and ``load_arch_hparams`` in
src/llama-model.cpp and src/models/). Most architectures keep keys and values in every layer and say all about them in
the same keys; those of the tables below differ as they say. One whose memory works otherwise is not guessed at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat
from types import MappingProxyType

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.modelfile import ModelFile

MAX_LAYERS = 1024
_NO_CACHE = {
    *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert"),
    *("gemma-embedding", "dream", "llada", "llada-moe", "rnd1"),
}
_RECURRENT = {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}
_RECURRENT_WHERE_HEADLESS = {"jamba", "granitehybrid", "lfm2", "lfm2moe", "plamo2", "nemotron_h", "nemotron_h_moe"}
_RECURRENT_BY_INTERVAL = {"qwen3next", "qwen35", "qwen35moe"}
_BOTH_IN_ONE = {"falcon-h1"}
_OTHERWISE = {
    *("deepseek32", "deepseek4", "glm-dsa", "glm5-next", "dots3note", "hy_v4", "minimax-m3", "minimax-01", "qwen4exp"),
    *("kimi-linear", "kimi-k3", "bailingmoe3", "t5", "t5encoder", "wavtokenizer-dec", "eagle3", "dflash", "clip"),
    "gemma4-assistant",
}
_FULL_ATTENTION_INTERVAL = 4


@dataclass(frozen=True, slots=True)
class _Windows:
    """How layers with a sliding window and layers with full attention alternate.

    Attributes:
        period: every so many layers one has full attention: the last of them, or the first.
        window: where the file names none; 0 is then no window at all.
    """

    period: int
    full_first: bool = False
    window: int = 0


_WINDOWS: Mapping[str, _Windows] = MappingProxyType(
    {
        "afmoe": _Windows(4),
        "cohere2": _Windows(4),
        "cohere2moe": _Windows(4, full_first=True),
        "exaone-moe": _Windows(4, window=128),
        "exaone4": _Windows(4),
        "gemma2": _Windows(2, window=4096),
        "gemma3": _Windows(6),
        "gemma3n": _Windows(5),
        "gpt-oss": _Windows(2),
        "laguna": _Windows(4, full_first=True),
        "llama4": _Windows(4, window=8192),
        "mellum": _Windows(4),
        "muse-glimmer": _Windows(4),
        "olmo2": _Windows(4),
        "plamo3": _Windows(8),
        "smallthinker": _Windows(4, full_first=True),
    }
)
"""The others have windows only where the file lists the layers that have one."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer remembers.

    Attributes:
        key_values, value_values: numbers kept for each token.
        window: tokens that are kept at least; 0 is all of them.
        state_values: numbers of 32 bits kept for each sequence, however long it is.
    """

    key_values: int = 0
    value_values: int = 0
    window: int = 0
    state_values: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's measures.

    Attributes:
        layers: all blocks, also those at the end that only predict further tokens.
        draft_layers: how many those are (MTP); they are loaded only for speculative decoding.
        heads, head_values: query heads and the length of each, in the widest layer.
        feed_forward: numbers that a token makes in the widest feed-forward part that is computed for it.
        experts_used: experts that are computed for a token; 0 is none.
        has_cache: whether it keeps anything from token to token.
    """

    architecture: str
    layers: tuple[Layer, ...]
    draft_layers: int
    ctx_train: int
    embedding: int
    vocabulary: int
    heads: int
    head_values: int
    feed_forward: int
    experts_used: int
    has_cache: bool


def shape_of(file: ModelFile) -> Shape:
    """Read the measures of a model.

    Raises:
        NotUnderstoodError: if its header lacks them, or its memory works in a way that is not known here.
    """
    keys = _Keys(file)
    name = keys.architecture
    if name in _OTHERWISE:
        raise NotUnderstoodError(f"how models of the architecture {name} use memory is not known here")
    count = keys.number("block_count")
    if not 0 < count <= MAX_LAYERS:
        raise NotUnderstoodError(f"its file says that it has {count} layers")
    draft = keys.number("nextn_predict_layers", 0)
    experts = max(keys.per_layer("expert_used_count", count, 0))
    wide = max(keys.per_layer("feed_forward_length", count, 0))
    shared = keys.number("expert_shared_feed_forward_length", 0)
    expert = max(keys.per_layer("expert_feed_forward_length", count, 0)) * experts + shared
    return Shape(
        architecture=name,
        layers=tuple(_layers(keys, count, draft)),
        draft_layers=draft,
        ctx_train=keys.number("context_length"),
        embedding=keys.number("embedding_length"),
        vocabulary=keys.number("vocab_size", file.lengths.get("tokenizer.ggml.tokens", 0)),
        heads=max(keys.per_layer("attention.head_count", count, 0)),
        head_values=keys.key_length,
        feed_forward=max(wide, expert) if expert else wide * max(experts, 1),
        experts_used=experts,
        has_cache=name not in _NO_CACHE,
    )


class _Keys:
    """The keys of an architecture, without its name before each."""

    def __init__(self, file: ModelFile) -> None:
        self._metadata = file.metadata
        name = file.metadata.get("general.architecture")
        if not isinstance(name, str):
            raise NotUnderstoodError("its file does not name an architecture")
        self.architecture = name

    def has(self, key: str) -> bool:
        return f"{self.architecture}.{key}" in self._metadata

    def is_list(self, key: str) -> bool:
        return isinstance(self._metadata.get(f"{self.architecture}.{key}"), tuple)

    def number(self, key: str, default: int | None = None) -> int:
        """A natural number."""
        value = self._metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, int) and 0 <= value < 1 << 40:
            return int(value)
        raise NotUnderstoodError(f"its file has no usable {self.architecture}.{key}")

    def per_layer(self, key: str, count: int, default: int | None = None) -> list[int]:
        """One natural number for each layer, where the file has one for all of them or one each."""
        value = self._metadata.get(f"{self.architecture}.{key}", default)
        if not isinstance(value, tuple):
            return list(repeat(self.number(key, default), count))
        numbers = [one for one in value if isinstance(one, int) and 0 <= one < 1 << 40]
        if len(numbers) < count or len(numbers) != len(value):
            raise NotUnderstoodError(f"its file has no usable {self.architecture}.{key}")
        return numbers[:count]

    @property
    def key_length(self) -> int:
        """Numbers in the key of one head."""
        heads = max(self.per_layer("attention.head_count", self.number("block_count"), 0))
        return self.number("attention.key_length", self.number("embedding_length") // heads if heads else 0)


def _layers(keys: _Keys, count: int, draft: int) -> list[Layer]:
    name = keys.architecture
    if name in _NO_CACHE:
        return list(repeat(Layer(), count))
    if name in _RECURRENT:
        return list(repeat(Layer(state_values=_state(keys)), count))
    attention = _attention_layers(keys, count, draft)
    recurrent = _recurrent(keys, count, draft)
    if not any(recurrent):
        return attention
    both, state = name in _BOTH_IN_ONE, _state(keys)
    return [
        Layer(
            attention[at].key_values if both or not recurrent[at] else 0,
            attention[at].value_values if both or not recurrent[at] else 0,
            attention[at].window,
            state if recurrent[at] else 0,
        )
        for at in range(count)
    ]


def _recurrent(keys: _Keys, count: int, draft: int) -> list[bool]:
    """Which layers keep a state instead of keys and values."""
    name = keys.architecture
    if name in _BOTH_IN_ONE:
        return [True] * count
    if name in _RECURRENT_WHERE_HEADLESS:
        heads = keys.per_layer("attention.head_count_kv", count)
        widths = keys.per_layer("feed_forward_length", count, 0)
        narrow_only = name.startswith("nemotron")
        return [not heads[at] and not (narrow_only and widths[at]) for at in range(count)]
    if name in _RECURRENT_BY_INTERVAL:
        if keys.has("attention.recurrent_layers"):
            return [bool(one) for one in keys.per_layer("attention.recurrent_layers", count)]
        interval = keys.number("full_attention_interval", _FULL_ATTENTION_INTERVAL) or _FULL_ATTENTION_INTERVAL
        return [at < count - draft and (at + 1) % interval != 0 for at in range(count)]
    if keys.has("ssm.state_size") or keys.has("wkv.head_size"):
        raise NotUnderstoodError(f"which layers of the architecture {name} keep a state is not known here")
    return [False] * count


def _state(keys: _Keys) -> int:
    """Numbers of the state of one layer for one sequence (``n_embd_r`` and ``n_embd_s`` in src/llama-hparams.cpp)."""
    embedding = keys.number("embedding_length")
    if keys.has("wkv.head_size"):
        return embedding * (keys.number("token_shift_count", 2) + keys.number("wkv.head_size"))
    if keys.has("shortconv.l_cache"):
        return embedding * max(keys.number("shortconv.l_cache") - 1, 0)
    inner, state = keys.number("ssm.inner_size"), keys.number("ssm.state_size")
    convolved = inner + 2 * keys.number("ssm.group_count", 0) * state
    return max(keys.number("ssm.conv_kernel", 0) - 1, 0) * convolved + state * inner


def _attention_layers(keys: _Keys, count: int, draft: int) -> list[Layer]:
    heads = keys.per_layer("attention.head_count_kv", count, keys.number("attention.head_count", 0))
    key = keys.key_length
    value = keys.number("attention.value_length", key)
    windowed = _windowed(keys, count, draft)
    window = keys.number("attention.sliding_window", _WINDOWS.get(keys.architecture, _Windows(1)).window)
    latent = keys.number("attention.key_length_mla", 0) > 0
    kept = _layers_with_cache(keys, count)
    found = []
    for at in range(count):
        width = keys.number("attention.key_length_swa", key) if windowed[at] else key
        depth = keys.number("attention.value_length_swa", value) if windowed[at] else value
        # With MLA the value is a part of the key, which is kept once (llama_kv_cache: has_v = !is_mla).
        layer = Layer(width * heads[at], 0 if latent else depth * heads[at], window if windowed[at] else 0)
        found.append(layer if at < kept else Layer())
    return found


def _layers_with_cache(keys: _Keys, count: int) -> int:
    """How many layers have keys and values of their own; the later ones look at those of earlier ones."""
    if keys.architecture == "gemma3n":
        return min(count, 20)
    return count - min(keys.number("attention.shared_kv_layers", 0), count)


def _windowed(keys: _Keys, count: int, draft: int) -> list[bool]:
    """Which layers have a sliding window (``load_swa_pattern`` in src/llama-model.cpp)."""
    known = _WINDOWS.get(keys.architecture)
    trunk = count - draft
    window = keys.number("attention.sliding_window", known.window if known else 0)
    if not window or (keys.architecture == "llama4" and keys.number("attention.sliding_window", 1) == 0):
        return [False] * count
    pattern = keys.has("attention.sliding_window_pattern")
    if pattern and keys.is_list("attention.sliding_window_pattern"):
        return [bool(one) for one in keys.per_layer("attention.sliding_window_pattern", count)]
    if known is None:
        return [False] * count
    period = keys.number("attention.sliding_window_pattern", known.period)
    if period == 0:
        return [at < trunk for at in range(count)]
    full = 0 if known.full_first else period - 1
    return [at < trunk and at % period != full for at in range(count)]
