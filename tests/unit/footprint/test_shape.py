"""Which layers remember what, for each way in which architectures differ."""

import pytest

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.modelfile import ModelFile
from llama_swap.footprint.shape import Layer, shape_of

from .conftest import llama_metadata


def shape(architecture="llama", **changes):
    """The shape of a model with these keys."""
    keys = llama_metadata(architecture, **changes)
    metadata = {key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()}
    return shape_of(ModelFile(metadata, {"tokenizer.ggml.tokens": 777}, ()))


def layers(architecture="llama", **changes):
    """Its layers."""
    return list(shape(architecture, **changes).layers)


def test_every_layer_keeps_keys_and_values():
    """Heads times their length, which is the width divided by the query heads where nothing else is said."""
    found = shape()
    assert found.layers == (Layer(1024, 1024),) * 32
    assert (found.ctx_train, found.vocabulary, found.heads, found.head_values) == (131072, 128256, 32, 128)


def test_lengths_of_keys_and_values_are_honoured():
    """Qwen3 32B: 64 heads of 128 on a width of 5120 (ollama#17201)."""
    found = layers("qwen3", embedding_length=5120, attention__head_count=64, attention__key_length=128)
    assert found[0] == Layer(1024, 1024)
    assert layers(attention__key_length=64, attention__value_length=32)[0] == Layer(512, 256)


def test_heads_of_each_layer_are_honoured():
    """A list instead of one number, as in Nemotron or OpenELM."""
    heads = [4] * 16 + [0] * 8 + [1] * 8
    found = layers("deci", attention__head_count_kv=heads)
    assert [layer.key_values for layer in found] == [count * 128 for count in heads]


def test_without_heads_for_keys_all_heads_count():
    """Multi-head attention."""
    assert layers(attention__head_count_kv=None)[0] == Layer(4096, 4096)


def test_the_vocabulary_is_counted_where_it_is_not_told():
    """By the list of tokens."""
    assert shape(vocab_size=None).vocabulary == 777


@pytest.mark.parametrize(
    ("architecture", "keys", "full"),
    [
        ("gemma2", {}, [1, 3, 5, 7, 9, 11]),
        ("gemma3", {"attention__sliding_window": 1024}, [5, 11]),
        ("gemma3", {}, list(range(12))),
        ("gpt-oss", {"attention__sliding_window": 128}, [1, 3, 5, 7, 9, 11]),
        ("llama4", {}, [3, 7, 11]),
        ("llama4", {"attention__sliding_window": 0}, list(range(12))),
        ("smallthinker", {"attention__sliding_window": 4096}, [0, 4, 8]),
        ("cohere2", {"attention__sliding_window": 4096, "attention__sliding_window_pattern": 3}, [2, 5, 8, 11]),
        ("gemma4", {"attention__sliding_window": 9, "attention__sliding_window_pattern": [True] * 11 + [False]}, [11]),
        ("llama", {"attention__sliding_window": 4096}, list(range(12))),
    ],
)
def test_layers_with_a_window(architecture, keys, full):
    """As llama.cpp alternates them; one that does not know of a window there keeps everything."""
    found = layers(architecture, block_count=12, **keys)
    assert [at for at, layer in enumerate(found) if not layer.window] == full


def test_the_window_is_the_files_or_the_architectures():
    """Gemma 2 has 4096 where the file does not say."""
    assert layers("gemma2")[0].window == 4096
    assert layers("exaone-moe")[0].window == 128
    assert layers("llama4")[0].window == 8192
    assert layers("gemma2", attention__sliding_window=99)[0].window == 99


def test_layers_with_a_window_may_have_heads_of_their_own():
    """Gemma 4."""
    keys = {"attention__sliding_window": 9, "attention__sliding_window_pattern": [True] * 31 + [False]}
    found = layers("gemma4", attention__key_length_swa=64, attention__value_length_swa=32, **keys)
    assert (found[0], found[31]) == (Layer(512, 256, 9), Layer(1024, 1024))


def test_later_layers_may_look_at_earlier_ones():
    """Gemma 3n keeps 20 layers; Gemma 4 says how many share."""
    found = layers("gemma3n", block_count=30, attention__sliding_window=512)
    assert [bool(layer.key_values) for layer in found] == [True] * 20 + [False] * 10
    keys = {"attention__sliding_window": 9, "attention__sliding_window_pattern": [True] * 32}
    assert sum(bool(layer.key_values) for layer in layers("gemma4", attention__shared_kv_layers=12, **keys)) == 20


def test_a_latent_cache_has_keys_only():
    """DeepSeek V3: 512 + 64 numbers for each token and layer."""
    found = layers(
        "deepseek2",
        attention__head_count=128,
        attention__head_count_kv=1,
        attention__key_length=576,
        attention__value_length=512,
        attention__key_length_mla=192,
        attention__value_length_mla=128,
    )
    assert found[0] == Layer(576, 0)


def test_an_old_file_of_the_same_model_has_no_latent_cache():
    """Without the keys of the latent form llama.cpp keeps everything."""
    found = layers("deepseek2", attention__head_count_kv=128, attention__key_length=192, attention__value_length=128)
    assert found[0] == Layer(128 * 192, 128 * 128)


_SSM = {"ssm__conv_kernel": 4, "ssm__inner_size": 8192, "ssm__state_size": 128, "ssm__group_count": 1}
_STATE = 3 * (8192 + 2 * 128) + 128 * 8192


def test_recurrent_models_keep_a_state():
    """However long the context is."""
    assert layers("mamba2", attention__head_count=0, attention__head_count_kv=0, **_SSM)[0] == Layer(
        state_values=_STATE
    )
    rwkv = layers("rwkv7", attention__head_count=0, attention__head_count_kv=0, wkv__head_size=64)
    assert rwkv[0] == Layer(state_values=4096 * (2 + 64))


def test_hybrid_models_keep_either():
    """By an interval, by a list, or where there are no heads; in Falcon H1 both."""
    found = layers("qwen3next", block_count=8, **_SSM)
    assert [layer.state_values > 0 for layer in found] == [True, True, True, False] * 2
    assert [layer.key_values > 0 for layer in found] == [False, False, False, True] * 2
    listed = layers("qwen35", block_count=3, attention__recurrent_layers=[True, False, True], **_SSM)
    assert [layer.state_values > 0 for layer in listed] == [True, False, True]
    headless = layers("granitehybrid", block_count=3, attention__head_count_kv=[0, 8, 0], **_SSM)
    assert headless == [Layer(state_values=_STATE), Layer(1024, 1024), Layer(state_values=_STATE)]
    assert layers("falcon-h1", **_SSM)[0] == Layer(1024, 1024, 0, _STATE)
    short = layers("lfm2", block_count=2, attention__head_count_kv=[0, 8], shortconv__l_cache=3)
    assert short == [Layer(state_values=4096 * 2), Layer(1024, 1024)]


def test_nemotron_has_layers_that_keep_nothing():
    """Those that are only a feed-forward part."""
    keys = {"attention__head_count_kv": [0, 0, 8], "feed_forward_length": [0, 9, 0]}
    found = layers("nemotron_h", block_count=3, **keys, **_SSM)
    assert found == [Layer(state_values=_STATE), Layer(), Layer(1024, 1024)]


def test_layers_that_only_predict_are_told_apart():
    """GLM 4.5 and Qwen 3.5 carry them at the end."""
    assert shape("glm4moe", nextn_predict_layers=1).draft_layers == 1
    found = layers("qwen35", block_count=5, nextn_predict_layers=1, **_SSM)
    assert [layer.state_values > 0 for layer in found] == [True, True, True, False, False]


def test_embedding_models_keep_nothing():
    """BERT and its like have no cache."""
    found = shape("bert", attention__head_count_kv=None)
    assert not found.has_cache
    assert set(found.layers) == {Layer()}


@pytest.mark.parametrize(
    ("keys", "feed_forward", "used"),
    [
        ({}, 14336, 0),
        ({"expert_used_count": 8, "expert_feed_forward_length": 768, "feed_forward_length": 6144}, 6144, 8),
        ({"expert_used_count": 2}, 28672, 2),
        ({"feed_forward_length": [1, 2, 3] + [9] * 29}, 9, 0),
    ],
)
def test_what_is_computed_for_a_token(keys, feed_forward, used):
    """The experts that are used, or the widest layer."""
    found = shape(**keys)
    assert (found.feed_forward, found.experts_used) == (feed_forward, used)


@pytest.mark.parametrize(
    ("architecture", "keys", "words"),
    [
        ("deepseek4", {}, "architecture deepseek4"),
        ("t5", {}, "architecture t5"),
        ("novel", {"ssm__state_size": 4}, "which layers of the architecture novel"),
        ("llama", {"block_count": None}, r"llama\.block_count"),
        ("llama", {"block_count": 0}, "0 layers"),
        ("llama", {"block_count": 1 << 20}, "1048576 layers"),
        ("llama", {"context_length": "long"}, r"llama\.context_length"),
        ("llama", {"attention__head_count_kv": [8]}, r"llama\.attention\.head_count_kv"),
        ("llama", {"attention__head_count_kv": ["a"] * 32}, r"llama\.attention\.head_count_kv"),
        ("llama", {"embedding_length": 1 << 50}, r"llama\.embedding_length"),
    ],
)
def test_what_is_not_understood_is_told(architecture, keys, words):
    """No figure is made up."""
    with pytest.raises(NotUnderstoodError, match=words):
        shape(architecture, **keys)


def test_a_file_without_an_architecture_is_told():
    """A projector, or something else."""
    with pytest.raises(NotUnderstoodError, match="does not name an architecture"):
        shape_of(ModelFile({}, {}, ()))
