"""llama-server's options."""

import pytest

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.options import EVERY_LAYER, Options, read_options


def options(*arguments, **env):
    """Read a command line and an environment."""
    return read_options(arguments, env)


def test_nothing_given_is_the_servers_own():
    """Its defaults, and an environment that has nothing to do with it."""
    assert options(PATH="/bin", HOME="/root") == Options()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-m", "a.gguf"), {"model": "a.gguf"}),
        (("--model", "a.gguf", "--port", "-m"), {"model": "a.gguf"}),
        (("-c", "8192"), {"ctx_size": 8192}),
        (("--ctx_size", "0"), {"ctx_size": 0}),
        (("-ngl", "all"), {"gpu_layers": EVERY_LAYER}),
        (("-ngl", "auto"), {"gpu_layers": None}),
        (("--n-gpu-layers", "-1"), {"gpu_layers": None}),
        (("-ngl", "20"), {"gpu_layers": 20}),
        (("-np", "-1"), {"parallel": None}),
        (("-np", "2", "-kvu"), {"parallel": 2, "kv_unified": True}),
        (("-fa",), {"flash_attention": "on"}),
        (("-fa", "off", "-ub", "128"), {"flash_attention": "off", "ubatch": 128}),
        (("-fa", "--swa-full"), {"flash_attention": "on", "swa_full": True}),
        (("-ctk", "q8_0", "-ctv", "q4_0"), {"type_k": "q8_0", "type_v": "q4_0"}),
        (("-cmoe",), {"cpu_moe_layers": EVERY_LAYER}),
        (("--n-cpu-moe", "7"), {"cpu_moe_layers": 7}),
        (
            ("-ot", "exps=CPU,attn=CUDA0", "-ot", "x=CPU"),
            {"overrides": (("exps", "CPU"), ("attn", "CUDA0"), ("x", "CPU"))},
        ),
        (("--lora", "a,b", "--lora", "c"), {"lora": ("a", "b", "c")}),
        (("--no-mmap", "-nkvo"), {"unmapped": True, "kv_offload": False}),
        (("--load-mode", "none"), {"unmapped": True}),
        (("--load-mode", "mmap"), {"unmapped": False}),
        (("-fit", "off"), {"fit": False}),
        (("-fitt", "2048,512"), {"fit_target_mib": 2048}),
        (("--temp", "-1", "--jinja", "-c", "9"), {"ctx_size": 9}),
        (("-m",), {}),
        (("-c", "1", "-c", "2"), {"ctx_size": 2}),
    ],
)
def test_options_are_read(arguments, expected):
    """In every spelling, the last one counting; others are passed over."""
    assert options(*arguments) == Options(**expected)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"LLAMA_ARG_MODEL": "a.gguf"}, {"model": "a.gguf"}),
        ({"LLAMA_ARG_CTX_SIZE": "77"}, {"ctx_size": 77}),
        ({"LLAMA_ARG_FLASH_ATTN": "off"}, {"flash_attention": "off"}),
        ({"LLAMA_ARG_CPU_MOE": "1"}, {"cpu_moe_layers": EVERY_LAYER}),
        ({"LLAMA_ARG_CPU_MOE": "0"}, {}),
        ({"LLAMA_ARG_KV_OFFLOAD": "0"}, {"kv_offload": False}),
        ({"LLAMA_ARG_KV_OFFLOAD": "true"}, {"kv_offload": True}),
        ({"LLAMA_ARG_NO_MMAP": "1"}, {"unmapped": True}),
        ({"LLAMA_ARG_FIT": "off"}, {"fit": False}),
    ],
)
def test_variables_are_read(env, expected):
    """Those that llama-server reads."""
    assert options(**env) == Options(**expected)


def test_the_command_line_overrides_the_environment():
    """As in llama-server."""
    assert options("-c", "5", LLAMA_ARG_CTX_SIZE="4").ctx_size == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-c", "8k"), "--ctx-size '8k'"),
        (("-ub", "-5"), "--ubatch-size '-5'"),
        (("-ctk", "tbq4"), "cache type 'tbq4'"),
        (("-ot", "exps"), "--override-tensor 'exps'"),
        (("-ngl", "many"), "--gpu-layers 'many'"),
    ],
)
def test_values_that_are_not_understood_are_told(arguments, words):
    """No figure is made up for them."""
    with pytest.raises(NotUnderstoodError, match=words):
        options(*arguments)


@pytest.mark.parametrize(
    ("arguments", "is_adaptable"),
    [
        ((), True),
        (("-c", "4096"), True),
        (("-ngl", "99"), True),
        (("-c", "4096", "-ngl", "99"), False),
        (("-c", "0", "-ngl", "all"), False),
        (("-fit", "off"), False),
        (("-sm", "tensor"), False),
    ],
)
def test_whether_the_server_makes_itself_smaller(arguments, is_adaptable):
    """--fit changes only what was not said."""
    assert options(*arguments).is_adaptable is is_adaptable


@pytest.mark.parametrize(
    ("arguments", "moves_layers"),
    [
        ((), True),
        (("-c", "4096"), True),
        (("-ngl", "auto"), True),
        (("-ngl", "99"), False),
        (("-fit", "off"), False),
        (("-cmoe",), False),
        (("-ncffn", "3"), False),
        (("-ot", "exps=CPU"), False),
        (("-sm", "row"), False),
    ],
)
def test_whether_layers_may_stay_on_the_host(arguments, moves_layers):
    """--fit leaves alone what was placed by hand."""
    assert options(*arguments).moves_layers is moves_layers


@pytest.mark.parametrize(
    ("arguments", "sequences", "is_unified"),
    [((), 4, True), (("-np", "2"), 2, False), (("-np", "2", "-kvu"), 2, True), (("-no-kvu",), 4, False)],
)
def test_how_sequences_share(arguments, sequences, is_unified):
    """Four that share one cache, unless their number is given."""
    found = options(*arguments)
    assert (found.sequences, found.is_unified) == (sequences, is_unified)


@pytest.mark.parametrize("arguments", [("-ngl", "0"), ("--device", "none")])
def test_a_server_without_a_device(arguments):
    """Nothing is put on one."""
    assert options(*arguments).uses_no_device
