"""A realistic configuration, whole: 29 models of one person with two GPUs, as they are written by hand."""

import subprocess
from pathlib import Path

import pytest
import yaml

from llama_swap.config import ConfigError, PortBook, load_config, render_check

SEED = Path(__file__).parent.parent / "data" / "seed_config.yaml"


@pytest.fixture(scope="module")
def config():
    """The configuration, with every port free."""
    return load_config([SEED], env={}, ports=PortBook(lambda _port: True))


def argv_by_shell(command, port):
    """What a POSIX shell makes of a command, once comment lines and line ends are gone as llama-swap has it."""
    lines = [line for line in command.split("\n") if not line.lstrip().startswith("#")]
    joined = " ".join(line.removesuffix("\\") for line in lines).replace("${PORT}", str(port))
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {joined}"], capture_output=True, check=True, text=True)
    return tuple(done.stdout.split("\0")[:-1])


def test_all_models_load(config):
    """Every model is there, in the order of its ID, with a port of its own from 5800 on."""
    assert len(config.models) == 29
    assert [model.port for model in config.models.values()] == list(range(5800, 5829))
    assert list(config.models) == sorted(config.models)


def test_every_argv_is_what_a_shell_would_make(config):
    """All 29 commands are split as a POSIX shell splits them."""
    written = yaml.safe_load(SEED.read_text())["models"]
    for model in config.models.values():
        assert model.argv == argv_by_shell(written[model.id]["cmd"], model.port), model.id


def test_json_in_quotes_survives(config):
    """JSON in single quotes, and in double quotes with escapes, arrives as one argument without its quotes."""
    assert config.models["gpt-oss-low:20b"].argv == (
        "/opt/llama-cpp/bin/llama-server",
        *("--hf-repo", "ggml-org/gpt-oss-20b-GGUF", "--hf-file", "gpt-oss-20b-mxfp4.gguf"),
        *("--ctx-size", "0", "--batch-size", "2048", "--ubatch-size", "512", "--threads", "1", "--jinja"),
        *("--chat-template-file", "/etc/llama-templates/openai-gpt-oss-20b.jinja"),
        *("--chat-template-kwargs", '{"reasoning_effort": "low"}'),
        *("--port", str(config.models["gpt-oss-low:20b"].port)),
    )
    assert '{"reasoning_effort": "high"}' in config.models["gpt-oss:120b"].argv
    assert '/home/me/My Models/style "v2".gguf' in config.models["qwen3.6:27b-q5-style"].argv


def test_comment_in_a_command_is_dropped(config):
    """A commented-out flag with an odd quote in it neither appears nor swallows what follows."""
    argv = config.models["devstral-2:24b-q4"].argv
    assert "0.15" not in argv
    assert argv[-4:-2] == ("--presence-penalty", "0")


def test_times_and_groups(config):
    """The long time for downloads, the hour of idling and the embedding group reach the scheduler."""
    spec = config.scheduler.models["smollm2:135m"]
    assert (spec.start_timeout_seconds, spec.ttl_seconds, spec.stop_grace_seconds) == (28800, 3600, 10)
    (group,) = config.scheduler.groups
    assert (group.name, group.members) == ("embedding", ("embeddinggemma:300m",))
    assert (group.swap, group.exclusive, group.persistent) == (False, False, True)


def test_the_copy_of_a_model_is_pointed_out(config):
    """The second name that is written as a second model gets the advice to make it an alias."""
    (warning,) = config.warnings
    assert warning.key == "models.gemma-4:31b-q4-nothink"
    assert "gemma-4:31b-q4" in warning.rule
    assert "alias" in warning.fix


def test_check_shows_everything(config):
    """`check` has a row and a command for each model."""
    text = render_check(config, redact_env={})
    assert text.startswith("ok: ")
    assert text.count("  command: /opt/llama-cpp/bin/llama-server ") == 29


def test_top_level_ttl_is_an_error_with_the_right_key(tmp_path):
    """`ttl: 3600` at the top, which llama-swap ignores without a word, names `globalTTL`."""
    file = tmp_path / "config.yaml"
    file.write_text(SEED.read_text().replace("globalTTL: 3600", "ttl: 3600"))
    with pytest.raises(ConfigError) as caught:
        load_config([file], env={}, ports=PortBook(lambda _port: True))
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (3, "ttl")
    assert "globalTTL" in problem.fix


def test_ports_are_kept_when_a_model_is_added(tmp_path):
    """A model that sorts first does not move the ports, and so the processes, of the 29 others."""
    file = tmp_path / "config.yaml"
    file.write_text(SEED.read_text())
    ports = PortBook(lambda _port: True)
    before = load_config([file], env={}, ports=ports)
    file.write_text(SEED.read_text() + '\n  "a-new-one:1b":\n    cmd: server --port ${PORT}\n')
    after = load_config([file], env={}, ports=ports)
    assert after.models["a-new-one:1b"].port == 5829
    assert all(after.models[name] == model for name, model in before.models.items())
