"""The tiny models as files; that llama.cpp accepts them is tested in tests/llama_cpp."""

import dataclasses

import numpy as np
import pytest
from gguf import GGUFReader

from llama_swap.demo.tiny_gguf import TinyModel, write_tiny_model

MODEL = TinyModel("tiny", "These words differ.", seed=3)


@pytest.fixture
def reader(tmp_path):
    """A file of three words, as GGUF's own reader sees it."""
    return GGUFReader(write_tiny_model(tmp_path / "tiny.gguf", MODEL))


def field(reader, name):
    """The value of a key of the file."""
    return reader.fields[name].contents()


def tensor(reader, name):
    """A tensor as a matrix of one row per output."""
    return next(t for t in reader.tensors if t.name == name).data.astype(np.float32)


def test_file_is_named_and_of_llama_architecture(reader):
    """Name and architecture are what llama.cpp shows of the model."""
    assert field(reader, "general.name") == "tiny"
    assert field(reader, "general.architecture") == "llama"


def test_file_is_small(tmp_path):
    """A model takes a few hundred kilobytes."""
    assert write_tiny_model(tmp_path / "a.gguf", MODEL).stat().st_size < 600_000


def test_tokens_hold_all_bytes_and_the_words(reader):
    """Any prompt can be written in bytes; the words are tokens of their own, with the mark of a space."""
    tokens = field(reader, "tokenizer.ggml.tokens")
    assert {f"<0x{byte:02X}>" for byte in range(256)} < set(tokens)
    assert tokens[-3:] == ["These", "\u2581words", "\u2581differ."]
    assert len(tokens) == len(set(tokens)) == field(reader, "llama.vocab_size")


def test_weights_lead_from_word_to_word(reader):
    """Ignoring the small random layers, each token's likeliest successor is the next word, then the end."""
    tokens = field(reader, "tokenizer.ggml.tokens")
    logits = tensor(reader, "token_embd.weight") @ tensor(reader, "output.weight").T
    following = {token: tokens[row.argmax()] for token, row in zip(tokens, logits, strict=True)}
    assert following["<|assistant|>"] == following["<0x41>"] == "These"
    assert following["These"] == "\u2581words"
    assert following["\u2581words"] == "\u2581differ."
    assert following["\u2581differ."] == "</s>"


def test_last_word_leads_to_the_first_where_the_end_is_banned(reader):
    """The second likeliest successor of the last word is the first one."""
    tokens = field(reader, "tokenizer.ggml.tokens")
    last = tensor(reader, "token_embd.weight")[-1] @ tensor(reader, "output.weight").T
    assert [tokens[i] for i in last.argsort()[::-1][:2]] == ["</s>", "These"]


def test_same_seed_gives_the_same_bytes(tmp_path):
    """The file depends on the model only."""
    one = write_tiny_model(tmp_path / "one.gguf", MODEL).read_bytes()
    assert write_tiny_model(tmp_path / "two.gguf", MODEL).read_bytes() == one
    other = dataclasses.replace(MODEL, seed=4)
    assert write_tiny_model(tmp_path / "three.gguf", other).read_bytes() != one


def test_writing_leaves_nothing_else_behind(tmp_path):
    """An older file is replaced and no temporary file stays."""
    path = tmp_path / "tiny.gguf"
    path.write_text("older")
    write_tiny_model(path, MODEL)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes().startswith(b"GGUF")


@pytest.mark.parametrize("sentence", ["", "twice twice", " ".join(map(str, range(64)))])
def test_sentence_must_be_possible(sentence):
    """A sentence without words, with a word twice or with too many words is refused."""
    with pytest.raises(ValueError, match="each of them once"):
        TinyModel("tiny", sentence)
