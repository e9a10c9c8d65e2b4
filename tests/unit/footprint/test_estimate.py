"""Whole models: the sums and their parts."""

import pytest

from llama_swap.footprint.estimate import (
    DEVICE_CONTEXT_BYTES,
    MIB,
    PROGRAM_BYTES,
    estimate,
    extras,
    keeps_per_sequence,
    least,
)
from llama_swap.footprint.facts import ModelFacts, NotUnderstoodError
from llama_swap.footprint.files import read_invocation
from llama_swap.footprint.options import EVERY_LAYER
from llama_swap.scheduler.memory import NeedSource

from .conftest import F16, llama_metadata, llama_tensors


def invocation(*arguments):
    """A command, read."""
    return read_invocation(ModelFacts("m", ("llama-server", *map(str, arguments))))


def parts(need):
    """Its parts by name, in MiB."""
    return {what: round(size / MIB) for what, size in need.parts}


def test_a_model_on_one_device(write_gguf):
    """Llama 3.1 8B at 8192, with the published size of its cache."""
    need = estimate(invocation("-m", write_gguf(), "-c", "8192", "-ngl", "99"))
    assert parts(need) == {
        "weights": 6788,
        "KV cache (8192 cells, f16)": 1024,
        "scratch for 512 tokens": 298,
        "the driver's own": 400,
        "the program": 200,
    }
    assert need.source is NeedSource.ESTIMATED
    assert sum(size for _, size in need.parts) == need.device_bytes + need.host_bytes
    assert need.host_bytes == PROGRAM_BYTES
    assert need.per_device_bytes == pytest.approx(DEVICE_CONTEXT_BYTES + 298.5 * MIB, rel=0.01)


def test_a_quantised_cache(write_gguf):
    """Half of it, and one layer of it unpacked."""
    need = estimate(invocation("-m", write_gguf(), "-c", "8192", "-ngl", "99", "-ctk", "q8_0", "-ctv", "q8_0"))
    assert parts(need)["KV cache (8192 cells, q8_0)"] == 544
    assert parts(need)["KV cache of a layer, unpacked"] == 32


def test_a_model_on_the_cpu(write_gguf):
    """Everything is the host's, and no driver takes anything."""
    need = estimate(invocation("-m", write_gguf(), "-c", "8192", "-ngl", "0"))
    assert (need.device_bytes, need.per_device_bytes) == (0, 0)
    assert parts(need) == {
        "weights": 7321,
        "KV cache (8192 cells, f16)": 1024,
        "scratch for 512 tokens": 298,
        "the program": 200,
    }


def test_experts_on_the_host(write_gguf):
    """The rest of a mixture is on the device."""
    changes = {"expert_count": 8, "expert_used_count": 2, "block_count": 2}
    path = write_gguf("moe.gguf", llama_metadata(**changes), llama_tensors(2, experts=8, feed_forward=1024))
    need = estimate(invocation("-m", path, "-c", "4096", "-ngl", "99", "-cmoe"))
    assert parts(need)["weights on the host"] == round(2 * 3 * 8 * 4096 * 1024 * 34 / 32 / MIB)
    everything = estimate(invocation("-m", path, "-c", "4096", "-ngl", "99"))
    assert everything.device_bytes - need.device_bytes == need.host_bytes - everything.host_bytes


def test_a_part_of_the_layers(write_gguf):
    """Weights and cache are divided by layers."""
    need = estimate(invocation("-m", write_gguf(), "-c", "8192", "-ngl", "17"))
    assert parts(need)["KV cache (8192 cells, f16)"] == 512
    assert parts(need)["KV cache (8192 cells, f16) on the host"] == 512


def test_the_projector_has_buffers_of_its_own(write_gguf):
    """884 MiB in the file are 1158 in memory (llama.cpp#19980)."""
    path = write_gguf("p.gguf", {"general.architecture": "clip"}, [("v.blk", (1024, 884 * 512), F16)])
    need = estimate(invocation("-m", write_gguf(), "--mmproj", path))
    assert parts(need)["multimodal projector"] == pytest.approx(1158, rel=0.03)
    kept = estimate(invocation("-m", write_gguf(), "--mmproj", path, "--no-mmproj-offload"))
    assert kept.host_bytes > need.host_bytes
    assert kept.device_bytes < need.device_bytes


def test_the_draft_model_has_a_cache_of_its_own(write_gguf):
    """In its own type and on its own layers."""
    draft = write_gguf("d.gguf", llama_metadata(block_count=16), llama_tensors(16))
    arguments = ("-m", write_gguf(), "-c", "8192", "-md", draft, "-ctkd", "q8_0", "-ctvd", "q8_0")
    found = parts(estimate(invocation(*arguments)))
    assert found["draft model's KV cache (8192 cells, q8_0)"] == 272
    assert "draft model's weights" in found
    on_host = parts(estimate(invocation(*arguments, "-ngld", "0")))
    assert on_host["draft model's KV cache (8192 cells, q8_0)"] == 272
    assert sum(on_host.values()) == pytest.approx(sum(found.values()), rel=0.1)


def test_adapters_count(write_gguf):
    """Each of them."""
    one = write_gguf("l1.gguf", {}, [("a", (1024, 1024), F16)])
    two = write_gguf("l2.gguf", {}, [("a", (1024, 1024), F16)])
    assert parts(estimate(invocation("-m", write_gguf(), "--lora", f"{one},{two}")))["adapters"] == 4


def test_layers_that_predict_count_when_they_are_used(write_gguf):
    """With a context and scratch of their own."""
    metadata = llama_metadata("glm4moe", block_count=5, nextn_predict_layers=1)
    path = write_gguf("g.gguf", metadata, llama_tensors(5))
    without = estimate(invocation("-m", path, "-c", "8192"))
    assert parts(without)["KV cache (8192 cells, f16)"] == 4 * 32
    more = estimate(invocation("-m", path, "-c", "8192", "--spec-type", "draft-mtp"))
    found = parts(more)
    layer = 4096 * (4096 + 3 * 14336) * 34 // 32
    assert found["multi-token prediction"] == pytest.approx(layer / MIB + 32 + 298, abs=2)
    assert more.device_bytes > without.device_bytes


def test_what_is_asked_of_llama_cpp_lacks_the_rest(write_gguf):
    """Projector, draft, adapters; nothing where there is none."""
    assert extras(invocation("-m", write_gguf())) == []
    lora = write_gguf("l1.gguf", {}, [("a", (1024, 1024), F16)])
    assert [part.what for part in extras(invocation("-m", write_gguf(), "--lora", lora))] == ["adapters"]


def test_whether_sequences_need_memory_each(write_gguf):
    """Those with a window or a state do; what is not understood might."""
    assert not keeps_per_sequence(invocation("-m", write_gguf()))
    assert keeps_per_sequence(invocation("-m", write_gguf("g.gguf", llama_metadata("gemma2"))))
    assert keeps_per_sequence(invocation("-m", write_gguf("x.gguf", {})))


def test_a_split_model_is_one(write_gguf):
    """The layers of all parts."""
    tensors = llama_tensors(4)
    metadata = llama_metadata(block_count=4)
    whole = estimate(invocation("-m", write_gguf("w.gguf", metadata, tensors), "-c", "512"))
    write_gguf("s-00002-of-00002.gguf", {}, tensors[5:])
    parted = estimate(invocation("-m", write_gguf("s-00001-of-00002.gguf", metadata, tensors[:5]), "-c", "512"))
    assert parted == whole


@pytest.mark.parametrize(
    ("metadata", "words"),
    [({}, "does not name an architecture"), (llama_metadata("deepseek4"), "deepseek4")],
)
def test_what_is_not_understood_is_told(write_gguf, metadata, words):
    """With the reason."""
    path = write_gguf("x.gguf", metadata, [])
    with pytest.raises(NotUnderstoodError, match=words):
        estimate(invocation("-m", path))


def test_a_damaged_file_is_told(tmp_path):
    """By its name."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"no")
    with pytest.raises(NotUnderstoodError, match=r"broken\.gguf"):
        estimate(invocation("-m", path))


def test_all_layers_is_a_number_too():
    """The largest one."""
    assert EVERY_LAYER > 100_000


@pytest.mark.parametrize(
    ("options", "same_as"),
    [
        (("-ngl", "99"), ("-c", "4096", "-ngl", "99")),
        (("-ngl", "99", "--fit-ctx", "8192"), ("-c", "8192", "-ngl", "99")),
        (("-ngl", "99", "-fitc", "999999999"), ("-c", "0", "-ngl", "99")),
        (("-ngl", "99", "--kv-unified-per-slot", "2048"), ("--kv-unified-per-slot", "2048", "-ngl", "99")),
        (("--n-cpu-moe", "4"), ("-c", "4096", "--n-cpu-moe", "4")),
        (("-c", "8192", "-sm", "row"), ("-c", "8192", "-sm", "row")),
    ],
)
def test_the_least_is_the_shortest_context_where_layers_stay(write_gguf, options, same_as):
    """--fit shortens the context that was not given, to a length that can be given."""
    path = write_gguf()
    assert least(invocation("-m", path, *options)) == estimate(invocation("-m", path, *same_as)).device_bytes


@pytest.mark.parametrize("options", [(), ("-c", "4096")])
def test_the_least_is_without_layers_where_these_may_move(write_gguf, options):
    """Scratch and the driver's own stay on the device, and the projector."""
    path = write_gguf()
    sizes = parts(estimate(invocation("-m", path, "-c", "4096")))
    found = least(invocation("-m", path, *options))
    assert round(found / MIB) == sizes["scratch for 512 tokens"] + sizes["the driver's own"]
    projector = write_gguf("p.gguf", {}, llama_tensors(layers=1))
    assert least(invocation("-m", path, "--mmproj", projector, *options)) > found + 100 * MIB


def test_the_least_of_what_is_not_understood(write_gguf):
    """Is not known."""
    with pytest.raises(NotUnderstoodError):
        least(invocation("-m", write_gguf(metadata=llama_metadata("kimi-linear"))))
