"""The command line of the embedded server."""

import pytest

from llama_swap.demo.flags import FlagError, parse_flags


def parsed(*argv):
    """The flags that were given beside the model."""
    flags = vars(parse_flags(["-m", "x.gguf", *argv]))
    assert flags.pop("model") == "x.gguf"
    return flags


def test_only_given_flags_appear():
    """What is not given stays llama.cpp's default, so it is not there at all."""
    assert parsed() == {}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-c", "4096"], {"ctx_size": 4096}),
        (["--ctx-size=4096"], {"ctx_size": 4096}),
        (["-ngl", "99"], {"gpu_layers": "99"}),
        (["--n-gpu-layers", "all"], {"gpu_layers": "all"}),
        (["--host", "0.0.0.0", "--port", "1"], {"host": "0.0.0.0", "port": 1}),
        (["--embeddings"], {"embedding": True}),
        (["-fa"], {"flash_attn": "on"}),
        (["-fa", "--jinja"], {"flash_attn": "on", "jinja": True}),
        (["--flash-attn", "auto"], {"flash_attn": "auto"}),
        (["--no-webui"], {"webui": False}),
        (["--no-ui"], {"webui": False}),
        (["-nocb"], {"cont_batching": False}),
        (["--no-mmap"], {"load_mode": "none"}),
        (["-s", "-1"], {"seed": -1}),
        (["--temp", "0.7", "-ub", "64", "-b", "128"], {"temp": 0.7, "ubatch_size": 64, "batch_size": 128}),
        (["--no-warmup", "-np", "2", "-t", "3"], {"warmup": False, "parallel": 2, "threads": 3}),
    ],
)
def test_flags_have_the_spellings_of_llama_server(argv, expected):
    """Short and long names, pairs of switches and values are read as llama-server reads them."""
    assert parsed(*argv) == expected


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["-m", "x", "--mmproj", "y.gguf"], "--mmproj y.gguf"),
        (["-m", "x", "--ctx", "1"], "--ctx"),
        (["-m", "x", "-c", "many"], "many"),
        (["-m", "x", "--pooling", "max"], "max"),
        ([], "-m FILE"),
    ],
)
def test_what_is_not_understood_is_named(argv, word):
    """Unknown, shortened and wrong flags are errors that quote them."""
    with pytest.raises(FlagError) as caught:
        parse_flags(argv)
    assert word in str(caught.value)
