"""Tiny but valid GGUF models: real llama.cpp inference in a few hundred kilobytes.

The weights are not trained but made so that the output is known beforehand. Every word of the model's sentence has a
direction of its own in the embedding, and the output matrix maps the direction of one word to the next word, the last
one to the end of the sequence. Everything that is no word of the sentence (each byte of a prompt, each chat marker)
shares one direction that maps to the first word. Attention and feed-forward weights are small random numbers: llama.cpp
computes them like those of any model and they shape the embeddings, but they never change which token is likeliest.

So a model always answers with its own sentence and stops, whatever the prompt. With ``ignore_eos`` it repeats the
sentence until the limit on tokens. Different prompts give different embeddings.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, LlamaFileType, TokenType
from numpy.typing import NDArray

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT_TOKENS = 32768

_BEGIN = 1
_END = 2
_SPECIAL = ("<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>")
_BYTE_COUNT = 256

_EMBEDDING = 128
_HEADS = 4
_FEED_FORWARD = 256
# The first direction belongs to everything that is no word, the next ones to the words, these last ones tell the other
# tokens apart (for embeddings).
_CODE_DIRECTIONS = 64
_MAX_WORDS = _EMBEDDING - _CODE_DIRECTIONS - 1

# After the final norm a token's own direction is about sqrt(_EMBEDDING) = 11 long, so these weights put the next word
# some 20 logits above all others, and make the first word follow the last one where the end is not allowed.
_WEIGHT_NEXT = 2.0
_WEIGHT_AGAIN = 1.0
_NOISE = 0.02

Tensor = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TinyModel:
    """What a tiny model is called and what it says.

    Attributes:
        name: ``general.name`` of the file.
        sentence: what the model answers; its words must differ, because each word determines the next one.
        seed: of the random part of the weights.
    """

    name: str
    sentence: str
    seed: int = 0

    def __post_init__(self) -> None:
        words = self.sentence.split()
        if not 1 <= len(words) <= _MAX_WORDS or len(set(words)) != len(words):
            raise ValueError(f"a sentence has 1 to {_MAX_WORDS} words, each of them once: {self.sentence!r}")


def write_tiny_model(path: Path, model: TinyModel) -> Path:
    """Write the model as a GGUF file of llama architecture, replacing an older file at once.

    Args:
        path: the file to write; its folder must exist.
        model: what to write.

    Returns:
        The path, for use in an expression.

    Raises:
        OSError: if the file cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".gguf-") as folder:
        unfinished = Path(folder) / path.name
        writer = GGUFWriter(unfinished, "llama")
        _add_shape(writer, model)
        _add_tokenizer(writer, _pieces(model))
        for name, tensor in _tensors(model):
            writer.add_tensor(name, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        unfinished.replace(path)
    return path


def _pieces(model: TinyModel) -> list[str]:
    """The words as SentencePiece writes them: a leading mark stands for the space before a word."""
    first, *others = model.sentence.split()
    return [first, *(f"\u2581{word}" for word in others)]


def _add_shape(writer: GGUFWriter, model: TinyModel) -> None:
    writer.add_name(model.name)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(_SPECIAL) + _BYTE_COUNT + len(_pieces(model)))


def _add_tokenizer(writer: GGUFWriter, words: list[str]) -> None:
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(_BYTE_COUNT)), *words]
    types = [TokenType.UNKNOWN, *[TokenType.CONTROL] * (len(_SPECIAL) - 1)]
    types += [TokenType.BYTE] * _BYTE_COUNT + [TokenType.NORMAL] * len(words)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(_BEGIN)
    writer.add_eos_token_id(_END)
    writer.add_add_bos_token(value=True)
    writer.add_add_space_prefix(value=False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _tensors(model: TinyModel) -> Iterator[tuple[str, Tensor]]:
    """Names and values of all tensors; a matrix has one row per output, as GGUF expects of numpy arrays."""
    random = np.random.default_rng(model.seed)

    def noise(rows: int, columns: int) -> Tensor:
        return random.normal(0.0, _NOISE, (rows, columns)).astype(np.float16)

    words = len(model.sentence.split())
    yield "token_embd.weight", _embedding(words, random)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield f"blk.0.{name}.weight", noise(_EMBEDDING, _EMBEDDING)
    yield "blk.0.ffn_gate.weight", noise(_FEED_FORWARD, _EMBEDDING)
    yield "blk.0.ffn_up.weight", noise(_FEED_FORWARD, _EMBEDDING)
    yield "blk.0.ffn_down.weight", noise(_EMBEDDING, _FEED_FORWARD)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        yield f"{name}.weight", np.ones(_EMBEDDING, dtype=np.float32)
    yield "output.weight", _output(words)


def _embedding(words: int, random: np.random.Generator) -> Tensor:
    others = len(_SPECIAL) + _BYTE_COUNT
    table = np.zeros((others + words, _EMBEDDING), dtype=np.float32)
    table[:others, 0] = 1.0
    table[:others, -_CODE_DIRECTIONS:] = random.normal(0.0, 0.5 / np.sqrt(_CODE_DIRECTIONS), (others, _CODE_DIRECTIONS))
    table[others:, 1 : words + 1] = np.eye(words)
    return table.astype(np.float16)


def _output(words: int) -> Tensor:
    first_word = len(_SPECIAL) + _BYTE_COUNT
    matrix = np.zeros((first_word + words, _EMBEDDING), dtype=np.float32)
    matrix[first_word : first_word + words, :words] = np.eye(words) * _WEIGHT_NEXT
    matrix[_END, words] = _WEIGHT_NEXT
    matrix[first_word, words] = _WEIGHT_AGAIN
    return matrix.astype(np.float16)
