"""The parts of memory, against what llama.cpp itself reports.

The figures marked with a build are its own: ``llama-server -v`` on files with these measures.
"""

from dataclasses import replace

import pytest

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.gguf import Tensor
from llama_swap.footprint.memory_use import (
    Placing,
    Split,
    cache_of,
    context_of,
    placing_of,
    scratch_of,
    unpacked_of,
    weights_of,
)
from llama_swap.footprint.modelfile import ModelFile
from llama_swap.footprint.options import EVERY_LAYER, Options
from llama_swap.footprint.shape import Layer, Shape

MIB = 1 << 20
LLAMA_8B = Shape("llama", (Layer(1024, 1024),) * 32, 0, 131072, 4096, 128256, 32, 128, 14336, 0, has_cache=True)
QWEN_32B = Shape("qwen3", (Layer(1024, 1024),) * 64, 0, 40960, 5120, 151936, 64, 128, 25600, 0, has_cache=True)
_GEMMA_LAYERS = tuple(Layer(1024, 1024, 0 if at % 6 == 5 else 1024) for at in range(12))
GEMMA = Shape("gemma3", _GEMMA_LAYERS, 0, 131072, 2560, 262208, 8, 256, 10240, 0, has_cache=True)
WIDE = Shape("qwen3", (Layer(1024, 1024),) * 4, 0, 40960, 1024, 1000, 64, 128, 256, 0, has_cache=True)
ALL = Options(gpu_layers=EVERY_LAYER)


def cache(shape, options):
    """All of its cache."""
    placing = placing_of(shape, options.gpu_layers, no_device=options.uses_no_device)
    return cache_of(range(len(shape.layers)), shape, context_of(shape, options), placing, options)


@pytest.mark.parametrize(
    ("shape", "options", "mebibytes"),
    [
        (LLAMA_8B, replace(ALL, ctx_size=8192), 1024),
        (LLAMA_8B, replace(ALL, ctx_size=8192, type_k="q8_0", type_v="q8_0"), 544),
        (LLAMA_8B, replace(ALL, ctx_size=8192, type_k="q4_0", type_v="q4_0"), 288),
        (LLAMA_8B, replace(ALL, ctx_size=8192, parallel=4), 1024),
        (QWEN_32B, replace(ALL, ctx_size=8192), 2048),
        # llama.cpp 0.7 (build 11669)
        (GEMMA, replace(ALL, ctx_size=8192), 244),
        (GEMMA, replace(ALL, ctx_size=32768), 436),
        (GEMMA, replace(ALL, ctx_size=32768, parallel=2), 376),
        (GEMMA, replace(ALL, ctx_size=32768, swa_full=True), 1536),
    ],
)
def test_the_cache_is_as_large_as_llama_cpp_makes_it(shape, options, mebibytes):
    """Of every kind of layer, in every type."""
    assert cache(shape, options) == Split(mebibytes * MIB)


@pytest.mark.parametrize(
    ("options", "tokens", "streams"),
    [
        (Options(ctx_size=8192), 8192, 1),
        (Options(ctx_size=8191), 8192, 1),
        (Options(), 131072, 1),
        (Options(ctx_size=0), 131072, 1),
        # llama.cpp 0.7 (build 11669): 2048 for three sequences is three times 768.
        (Options(ctx_size=2048, parallel=3), 768, 3),
        (Options(ctx_size=2048, parallel=3, kv_unified=True), 2048, 1),
        (Options(ctx_per_slot=4096), 16384, 1),
        (Options(ctx_size=1), 256, 1),
    ],
)
def test_the_context_is_divided_as_llama_cpp_does_it(options, tokens, streams):
    """In steps of 256 tokens."""
    found = context_of(LLAMA_8B, options)
    assert (found.tokens, found.streams) == (tokens, streams)


def test_a_batch_is_never_longer_than_the_context():
    """Nor than the logical batch."""
    assert context_of(LLAMA_8B, Options(ctx_size=256)).ubatch == 256
    assert context_of(LLAMA_8B, Options(batch=64)).ubatch == 64
    assert context_of(LLAMA_8B, Options(ubatch=0)).ubatch == 2048


def test_a_model_without_a_length_is_not_guessed_at():
    """Neither the file nor the command says one."""
    with pytest.raises(NotUnderstoodError, match="context length"):
        context_of(replace(LLAMA_8B, ctx_train=0), Options())


@pytest.mark.parametrize(
    ("gpu_layers", "on_device"),
    [
        (0, []),
        (1, [4]),
        (2, [3, 4]),
        (4, [1, 2, 3, 4]),
        (5, [0, 1, 2, 3, 4]),
        (99, [0, 1, 2, 3, 4]),
        (None, [0, 1, 2, 3, 4]),
    ],
)
def test_the_last_layers_are_on_the_device(gpu_layers, on_device):
    """The output, counted as the layer after the last one, comes first."""
    placing = placing_of(replace(LLAMA_8B, layers=(Layer(),) * 4), gpu_layers, no_device=False)
    assert [at for at in range(5) if placing.is_on_device(at)] == on_device


def test_a_server_without_a_device_puts_nothing_on_one():
    """Whatever the number of layers."""
    placing = placing_of(LLAMA_8B, 99, no_device=True)
    assert not placing.is_on_device(31)
    assert not placing.is_on_device(32)


def test_the_cache_of_a_layer_is_where_the_layer_is():
    """Unless it shall stay on the host."""
    assert cache(LLAMA_8B, Options(ctx_size=8192, gpu_layers=9)) == Split(256 * MIB, 768 * MIB)
    assert cache(LLAMA_8B, Options(ctx_size=8192, gpu_layers=99, kv_offload=False)) == Split(0, 1024 * MIB)
    assert cache(LLAMA_8B, Options(ctx_size=8192, gpu_layers=0)) == Split(0, 1024 * MIB)


def test_states_are_kept_for_each_sequence():
    """In 32 bits, whatever the type of the cache."""
    shape = replace(LLAMA_8B, layers=(Layer(state_values=1000), Layer(64, 64)))
    one = cache(shape, replace(ALL, ctx_size=256, parallel=1))
    assert one == Split(4000 + 256 * 128 * 2)
    assert cache(shape, replace(ALL, ctx_size=256)) == Split(16000 + 256 * 128 * 2)


def test_an_embedding_model_keeps_nothing():
    """It has no cache."""
    assert cache(replace(LLAMA_8B, has_cache=False), ALL) == Split()


TENSORS = (
    Tensor("token_embd.weight", 1),
    Tensor("output.weight", 10),
    Tensor("output_norm.weight", 100),
    Tensor("blk.0.attn_q.weight", 1000),
    Tensor("blk.0.ffn_up_exps.weight", 10_000),
    Tensor("blk.1.attn_q.weight", 100_000),
    Tensor("blk.1.ffn_up_exps.weight", 1_000_000),
    Tensor("blk.2.ffn_up.weight", 10_000_000),
)


def weights(options=ALL, tensors=TENSORS, layers=range(3), first=0):
    """Where the weights of a model of three layers go."""
    placing = Placing(3, first)
    return weights_of(ModelFile({}, {}, tensors), placing, options, layers)


@pytest.mark.parametrize(
    ("options", "first", "device", "host"),
    [
        (ALL, 0, 11_111_110, 0),
        (replace(ALL, unmapped=True), 0, 11_111_110, 1),
        (ALL, 2, 10_000_110, 1_111_000),
        (ALL, 3, 110, 11_111_000),
        (ALL, EVERY_LAYER, 0, 11_111_111),
        (replace(ALL, cpu_moe_layers=1), 0, 11_101_110, 10_000),
        (replace(ALL, cpu_moe_layers=EVERY_LAYER), 0, 10_101_110, 1_010_000),
        (replace(ALL, cpu_ffn_layers=3), 0, 1_111_110, 10_000_000),
        (replace(ALL, overrides=(("exps", "CPU"),)), 0, 10_101_110, 1_010_000),
        (replace(ALL, overrides=((r"blk\.0.*exps", "CUDA0"), ("exps", "CPU"))), 0, 10_111_110, 1_000_000),
        (replace(ALL, overrides=(("output", "CPU"),)), 0, 11_111_000, 110),
    ],
)
def test_where_weights_go(options, first, device, host):
    """By their layer, unless an option keeps them on the host; the first pattern that fits decides."""
    assert weights(options, first=first) == Split(device, host)


def test_a_shared_embedding_is_on_the_device_too():
    """As the output; on the host it stays mapped."""
    tied = tuple(tensor for tensor in TENSORS if tensor.name != "output.weight")
    assert weights(tensors=tied).device == 11_111_101
    assert weights(tensors=tied, first=EVERY_LAYER) == Split(0, 11_111_101)


def test_layers_that_only_predict_are_left_out():
    """They are a part of their own, where they are loaded at all."""
    assert weights(layers=range(2)) == Split(1_111_110)
    assert weights(layers=range(2, 3)) == Split(10_000_000)


def test_a_pattern_that_is_none_is_told():
    """llama-server would refuse it, too."""
    with pytest.raises(NotUnderstoodError, match="--override-tensor"):
        weights(replace(ALL, overrides=(("(", "CPU"),)))


@pytest.mark.parametrize(
    ("shape", "options", "mebibytes"),
    [
        # llama.cpp 0.7 (build 11669); with --embeddings it computes every output, as older versions always do.
        (LLAMA_8B, Options(ctx_size=8192), 298),
        (LLAMA_8B, Options(ctx_size=4096, flash_attention="off"), 316),
        (LLAMA_8B, Options(ctx_size=8192, flash_attention="off"), 580),
        (LLAMA_8B, Options(ctx_size=32768, flash_attention="off"), 2164),
        (QWEN_32B, Options(ctx_size=8192, flash_attention="off"), 1126),
        # Narrow models with many heads, which show the attention.
        (WIDE, Options(ctx_size=8192, flash_attention="off"), 1086),
        (replace(WIDE, layers=(Layer(8192, 8192),) * 4), Options(ctx_size=8192), 82),
        (replace(WIDE, layers=(Layer(8192, 8192),) * 4), Options(ctx_size=8192, flash_attention="off"), 1114),
        # The same with the output of the last tokens only, which shows the feed-forward part.
        (replace(LLAMA_8B, vocabulary=0), Options(ctx_size=8192), 132),
        (replace(LLAMA_8B, vocabulary=0), Options(ctx_size=32768), 156),
        (replace(LLAMA_8B, vocabulary=0), Options(ctx_size=8192, ubatch=1024), 264),
        (replace(LLAMA_8B, vocabulary=0), Options(ctx_size=8192, ubatch=128), 33),
        (replace(QWEN_32B, vocabulary=0), Options(ctx_size=32768), 232),
        (replace(GEMMA, vocabulary=0), Options(ctx_size=8192), 97),
        (replace(GEMMA, vocabulary=0), Options(ctx_size=32768), 121),
        (
            replace(LLAMA_8B, embedding=2048, vocabulary=0, feed_forward=6144, experts_used=8),
            Options(ctx_size=8192),
            96,
        ),
    ],
)
def test_the_scratch_is_about_as_large_as_llama_cpp_makes_it(shape, options, mebibytes):
    """Within a few per cent, rather more than less."""
    found = scratch_of(shape, context_of(shape, options), options) / MIB
    assert mebibytes * 0.97 <= found <= mebibytes * 1.04


def test_a_quantised_cache_is_unpacked_layer_by_layer():
    """Flash attention makes 16 bits of it; a cache of 16 bits needs nothing."""
    options = Options(ctx_size=8192, type_k="q8_0", type_v="q8_0")
    assert unpacked_of(LLAMA_8B, context_of(LLAMA_8B, options), options) == 8192 * 2048 * 2
    assert unpacked_of(LLAMA_8B, context_of(LLAMA_8B, ALL), ALL) == 0


def test_splits_add_up():
    """Side by side."""
    assert Split(1, 2) + Split(10, 20) == Split(11, 22)
    assert Split(1, 2).total == 3
