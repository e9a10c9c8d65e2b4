"""What is worked out of a model's memory, against what llama.cpp itself reports of the same file.

The models have the layers of real ones, narrow ones and few of them, and no weights worth the name.
"""

import itertools
import os
import re
import shutil
import subprocess
import threading

import pytest
from gguf import GGMLQuantizationType, GGUFWriter, TokenType

from llama_swap.footprint.estimate import estimate, keeps_per_sequence
from llama_swap.footprint.facts import ModelFacts
from llama_swap.footprint.files import read_invocation
from llama_swap.footprint.fit_params import Asking, arguments_for, find_tool, parse_answer

MIB = 1 << 20
WIDTH, HEADS, FEED_FORWARD, VOCABULARY, LAYERS = 256, 4, 512, 2048, 6
_F16, _F32 = GGMLQuantizationType.F16, GGMLQuantizationType.F32
_START_SECONDS = 60

_FFN = {"ffn_norm": (WIDTH,), "ffn_gate": (WIDTH, FEED_FORWARD), "ffn_up": (WIDTH, FEED_FORWARD)}
_FFN |= {"ffn_down": (FEED_FORWARD, WIDTH)}
_EXPERTS = {"ffn_norm": (WIDTH,), "ffn_gate_inp": (WIDTH, 8), "ffn_down_exps": (FEED_FORWARD, WIDTH, 8)}
_EXPERTS |= {f"ffn_{name}_exps": (WIDTH, FEED_FORWARD, 8) for name in ("gate", "up")}


def _attention(head=64, heads=HEADS, kv_heads=2):
    return {
        "attn_norm": (WIDTH,),
        "attn_q": (WIDTH, heads * head),
        "attn_k": (WIDTH, kv_heads * head),
        "attn_v": (WIDTH, kv_heads * head),
        "attn_output": (heads * head, WIDTH),
    }


def _norms(head=64):
    return {"attn_q_norm": (head,), "attn_k_norm": (head,)}


_POST = {"post_attention_norm": (WIDTH,), "post_ffw_norm": (WIDTH,)}
_MLA = {
    "attn_norm": (WIDTH,),
    "attn_q_a_norm": (64,),
    "attn_q_a": (WIDTH, 64),
    "attn_q_b": (64, HEADS * 96),
    "attn_kv_a_norm": (128,),
    "attn_kv_a_mqa": (WIDTH, 128 + 32),
    "attn_k_b": (64, 128, HEADS),
    "attn_v_b": (128, 64, HEADS),
    "attn_output": (HEADS * 64, WIDTH),
}
_CONV = {"attn_norm": (WIDTH,), "shortconv.conv": (3, WIDTH), "shortconv.in_proj": (WIDTH, 3 * WIDTH)}
_CONV |= {"shortconv.out_proj": (WIDTH, WIDTH)}
_MAMBA = {
    "attn_norm": (WIDTH,),
    "ssm_in": (WIDTH, 4 * WIDTH),
    "ssm_conv1d": (4, 2 * WIDTH),
    "ssm_conv1d.bias": (2 * WIDTH,),
    "ssm_x": (2 * WIDTH, 16 + 2 * 16),
    "ssm_dt": (16, 2 * WIDTH),
    "ssm_dt.bias": (2 * WIDTH,),
    "ssm_a": (16, 2 * WIDTH),
    "ssm_d": (2 * WIDTH,),
    "ssm_out": (2 * WIDTH, WIDTH),
}
_MAMBA_KEYS = {"ssm.conv_kernel": 4, "ssm.inner_size": 2 * WIDTH, "ssm.state_size": 16, "ssm.time_step_rank": 16}
_MLA_KEYS = {
    "attention.head_count_kv": 1,
    "attention.key_length": 160,
    "attention.value_length": 128,
    "attention.key_length_mla": 96,
    "attention.value_length_mla": 64,
    "attention.kv_lora_rank": 128,
    "attention.q_lora_rank": 64,
    "rope.dimension_count": 32,
    "leading_dense_block_count": LAYERS,
    "expert_count": 8,
    "expert_used_count": 2,
    "expert_feed_forward_length": FEED_FORWARD,
    "expert_shared_count": 1,
}
_MOE_KEYS = {"expert_count": 8, "expert_used_count": 2, "expert_feed_forward_length": FEED_FORWARD}
_WIDE = {"attention.key_length": 128, "attention.value_length": 128}

MODELS = {
    "llama": ("llama", {}, [_attention() | _FFN] * LAYERS),
    "qwen3": ("qwen3", _WIDE, [_attention(128) | _norms(128) | _FFN] * LAYERS),
    "qwen3moe": ("qwen3moe", _MOE_KEYS, [_attention() | _norms() | _EXPERTS] * LAYERS),
    "gemma3": ("gemma3", {"attention.sliding_window": 512}, [_attention() | _norms() | _POST | _FFN] * LAYERS),
    "gemma2": ("gemma2", {"attention.sliding_window": 256}, [_attention() | _POST | _FFN] * LAYERS),
    "deepseek2": ("deepseek2", _MLA_KEYS, [_MLA | _FFN] * LAYERS),
    "lfm2": (
        "lfm2",
        {"shortconv.l_cache": 3, "attention.head_count_kv": [0, 0, 2] * (LAYERS // 3)},
        [_CONV | _FFN, _CONV | _FFN, _attention() | _norms() | _FFN] * (LAYERS // 3),
    ),
    "mamba": ("mamba", _MAMBA_KEYS | {"attention.head_count": 0}, [_MAMBA] * LAYERS),
}


def _write(path, architecture, keys, layers):
    writer = GGUFWriter(path, architecture)
    own = {"attention.head_count": HEADS, "attention.head_count_kv": 2} if architecture != "mamba" else {}
    sizes = {"block_count": LAYERS, "context_length": 8192, "embedding_length": WIDTH, "vocab_size": VOCABULARY}
    for key, value in (sizes | {"feed_forward_length": FEED_FORWARD} | own | keys).items():
        add = writer.add_array if isinstance(value, list) else writer.add_uint32
        add(f"{architecture}.{key}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_vocabulary(writer)
    tensors = {"token_embd.weight": (WIDTH, VOCABULARY)}
    if architecture != "gemma2":  # its output is its embedding
        tensors["output.weight"] = (WIDTH, VOCABULARY)
    tensors["token_embd_norm.weight" if architecture == "lfm2" else "output_norm.weight"] = (WIDTH,)
    for at, layer in enumerate(layers):
        for name, shape in layer.items():
            whole = name if name in {"ssm_a", "ssm_d"} or name.endswith(".bias") else f"{name}.weight"
            tensors[f"blk.{at}.{whole}"] = shape
    for name, shape in tensors.items():
        small = len(shape) == 1 or "ssm_conv1d" in name or "ssm_a" in name or "ffn_gate_inp" in name
        kind = _F32 if small or "shortconv.conv" in name else _F16
        count = 1
        for length in shape:
            count *= length
        size = count * (4 if kind is _F32 else 2)
        writer.add_tensor_info(name, shape[::-1], None, size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    infos = writer.tensors[0].values()
    with path.open("r+b") as file:
        file.truncate(-(-path.stat().st_size // 32) * 32 + sum(-(-info.nbytes // 32) * 32 for info in infos))


def _add_vocabulary(writer):
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([*special, *(f"word{number}" for number in range(VOCABULARY - len(special)))])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types(kinds + [TokenType.NORMAL] * (VOCABULARY - len(special)))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The files of all models, by name."""
    folder = tmp_path_factory.mktemp("shapes")
    for name, (architecture, keys, layers) in MODELS.items():
        _write(folder / f"{name}.gguf", architecture, keys, layers)
    return {name: folder / f"{name}.gguf" for name in MODELS}


@pytest.fixture
def report(upstream, free_port):
    """``report(arguments)``: what the server says of its memory when it has loaded, in MiB by kind of buffer."""

    def start(arguments):
        argv = [*upstream.command, *arguments, "-t", "1", "--host", "127.0.0.1", "--port", str(free_port()), "-v"]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        watchdog = threading.Timer(_START_SECONDS, child.kill)
        watchdog.start()
        found, lines = {}, []
        try:
            for line in child.stdout:
                lines.append(line)
                if sizes := re.search(r"(model|KV|RS|compute) buffer size = +([\d.]+) MiB", line):
                    if sizes[1] == "model" and "compute" in found:
                        found.clear()  # what came before only looked what would fit
                    found[sizes[1]] = found.get(sizes[1], 0) + float(sizes[2])
                if "listening on" in line:
                    break
        finally:
            watchdog.cancel()
            child.kill()
            child.wait()
            child.stdout.close()
        assert "model" in found, "".join(lines[-20:])
        return found

    return start


OPTIONS = [
    ("-c", "4096"),
    ("-c", "4096", "-np", "2"),
    ("-c", "2048", "-ctk", "q8_0", "-ctv", "q8_0", "-fa", "on"),
    ("-c", "2048", "-ub", "128", "-fa", "off"),
]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_the_sums_are_those_of_llama_cpp(files, report, name, options):
    """Weights and caches to the byte that it prints; scratch no less, and not much more."""
    arguments = ["-m", str(files[name]), *options]
    need = estimate(read_invocation(ModelFacts(name, ("llama-server", *arguments, "-ngl", "0"))))
    parts = {what.partition(" (")[0].partition(" for ")[0]: size / MIB for what, size in need.parts}
    said = report(arguments)
    assert parts["weights"] == pytest.approx(said["model"], abs=0.1)
    assert parts.get("KV cache", 0) == pytest.approx(said.get("KV", 0) + said.get("RS", 0), abs=0.02)
    assert said["compute"] * 0.9 <= parts["scratch"] <= said["compute"] + 8


def test_llama_cpp_says_the_same_when_it_is_asked(files):
    """The real llama-fit-params takes what we ask it with, and on a machine without devices all is the host's."""
    server = os.environ.get("LLAMA_SERVER") or "llama-server"
    without_devices = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "GGML_VK_VISIBLE_DEVICES": ""}
    for name, options in itertools.product(MODELS, OPTIONS):
        argv = (server, "-m", str(files[name]), *options, "--jinja", "--host", "127.0.0.1", "-ngl", "0")
        invocation = read_invocation(ModelFacts(name, argv, {**os.environ, **without_devices}))
        tool = find_tool(invocation) if shutil.which(server) else None
        if tool is None:
            pytest.skip("there is no llama-fit-params beside a llama-server on the PATH or in $LLAMA_SERVER")
        several = keeps_per_sequence(invocation)
        asked = (str(tool), *arguments_for(invocation, several=several))
        (host,) = parse_answer(Asking(asked, invocation.command.env).run())
        parts = {what.partition(" (")[0].partition(" for ")[0]: size for what, size in estimate(invocation).parts}
        assert host.model_bytes == pytest.approx(parts["weights"], abs=MIB)
        # It knows no cache that sequences share, so windows in one are told too large, never too small.
        caches = parts.get("KV cache", 0)
        assert caches - MIB <= host.context_bytes <= caches * (1.5 if several else 1) + MIB
