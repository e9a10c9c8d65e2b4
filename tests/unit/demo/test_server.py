"""The translation of flags to llama.cpp's parameters; the running server is tested in tests/llama_cpp."""

import pytest

from llama_swap.demo import server
from llama_swap.demo.flags import FlagError, parse_flags

xllamacpp = pytest.importorskip(
    "xllamacpp", reason="the demo extra is not installed, or not here: nixpkgs has no xllamacpp"
)


def params(*argv):
    """llama.cpp's parameters for a command line."""
    return server._parameters(xllamacpp, parse_flags(["-m", "x.gguf", *argv]))


def test_defaults_are_those_of_llama_server():
    """Port 8080 on loopback, an automatic number of slots, the model's own context."""
    defaults = params()
    assert (defaults.model.path, defaults.port, defaults.hostnames) == ("x.gguf", 8080, ["127.0.0.1"])
    assert (defaults.n_parallel, defaults.n_ctx, defaults.use_jinja) == (-1, 0, True)


def test_plain_values_are_copied():
    """Numbers and switches reach the field of the same meaning, nested ones too."""
    given = params("-c", "64", "-t", "3", "--temp", "0.5", "--no-jinja", "--metrics", "-n", "7")
    assert (given.n_ctx, given.cpuparams.n_threads, given.n_predict) == (64, 3, 7)
    assert given.sampling.temp == pytest.approx(0.5)
    assert (given.use_jinja, given.endpoint_metrics) == (False, True)


def test_every_flag_that_is_parsed_is_used(tmp_path):
    """No flag of the table is read and then dropped; --version is answered before there are parameters."""
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}")
    known = {*server._SAME_VALUE, *server._converters(xllamacpp), "version"}
    parser = server.parse_flags.__globals__["_parser"]()
    dests = {action.dest for action in parser._actions if action.dest != "help"}
    assert dests == known


def test_fields_exist_in_llama_cpp():
    """A misspelt field would be an attribute error, not a silent new attribute."""
    with pytest.raises(AttributeError):
        server._set(params(), "no_such_field", 1)
    for path in server._SAME_VALUE.values():
        target = params()
        for part in path.split("."):
            target = getattr(target, part)


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["-ngl", "99"], "n_gpu_layers", 99),
        (["-ngl", "auto"], "n_gpu_layers", -1),
        (["-ngl", "all"], "n_gpu_layers", -2),
        (["--alias", "a,b"], "model_alias", {"a", "b"}),
        (["--host", "::1"], "hostnames", ["::1"]),
        (["--api-key", "k,l"], "api_keys", ["k", "l"]),
        (["-to", "7"], "timeout_read", 7),
        (["-fit", "off"], "fit_params", False),
        (["-fa"], "flash_attn_type", xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED),
        (["-ctk", "q8_0"], "cache_type_k", xllamacpp.ggml_type.GGML_TYPE_Q8_0),
        (["--mlock"], "load_mode", xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MLOCK),
        (["--rerank"], "pooling_type", xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK),
        (["--reasoning-format", "deepseek-legacy"], "reasoning_format", 2),
    ],
)
def test_values_are_converted(argv, field, value):
    """Lists, names of enum members and special words become what llama.cpp's field wants."""
    assert getattr(params(*argv), field) == value


def test_negative_seed_is_the_random_one():
    """llama.cpp writes the random seed as the largest unsigned number."""
    assert params("-s", "-1").sampling.seed == xllamacpp.LLAMA_DEFAULT_SEED


def test_template_is_read_from_its_file(tmp_path):
    """The text of --chat-template-file is the template."""
    file = tmp_path / "t.jinja"
    file.write_text("{{ messages }}")
    assert params("--chat-template-file", str(file)).chat_template == "{{ messages }}"


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["-ngl", "some"], "some"),
        (["-ctv", "q9"], "q9"),
        (["--load-mode", "slow"], "slow"),
        (["--chat-template-file", "/no/such/file"], "/no/such/file"),
    ],
)
def test_impossible_values_are_named(argv, word):
    """A value that llama.cpp has no meaning for is an error that quotes it."""
    with pytest.raises(FlagError, match=word):
        params(*argv)


def test_version_is_printed(capsys):
    """--version names the package that carries llama.cpp and needs no server."""
    assert server.main(["-m", "x.gguf", "--version"]) == 0
    assert "xllamacpp" in capsys.readouterr().out


def test_bad_command_line_is_exit_code_one(capsys):
    """As with llama-server, a bad command line ends with 1 and a line on stderr."""
    assert server.main(["-m", "x.gguf", "--what"]) == 1
    assert capsys.readouterr().err == "error: unknown argument: --what\n"
