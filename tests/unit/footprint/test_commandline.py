"""Where llama-server is in a command, and what is honestly left alone."""

import pytest

from llama_swap.footprint.commandline import find_server
from llama_swap.footprint.facts import NotUnderstoodError


@pytest.mark.parametrize(
    "argv",
    [
        ("llama-server", "-m", "x"),
        ("/nix/store/abc/bin/llama-server", "-m", "x"),
        ("/opt/llama-server-cuda", "-m", "x"),
        ("llama-server.exe", "-m", "x"),
        ("env", "A=B", "llama-server", "-m", "x"),
        ("nice", "-n", "5", "llama-server", "-m", "x"),
        ("llama", "serve", "-m", "x"),
        ("bash", "-c", "llama-server -m x"),
        ("bash", "-lc", "exec llama-server -m 'x'"),
        ("/bin/sh", "-e", "-c", "cd /tmp && A=1 exec nice llama-server -m x # fast"),
        ("sh", "-c", "sleep 1; llama-server -m x | cat"),
        ("nice", "sh", "-c", "sh -c 'llama-server -m x'"),
    ],
)
def test_it_is_found(argv):
    """Bare, behind other programs, and in a shell's plain words."""
    assert find_server(argv, {}).arguments == ("-m", "x")


def test_variables_before_it_are_its_environment():
    """Those of the command come after those of the configuration."""
    found = find_server(("env", "A=2", "llama-server"), {"A": "1", "B": "3"})
    assert found.env == {"A": "2", "B": "3"}
    found = find_server(("sh", "-c", "LLAMA_ARG_CTX_SIZE=99 llama-server"), {})
    assert found.env == {"LLAMA_ARG_CTX_SIZE": "99"}


def test_its_program_is_named():
    """As the command has it."""
    assert find_server(("env", "/opt/llama-server", "-m", "x"), {}).program == "/opt/llama-server"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "no llama-server"),
        (("python", "-m", "vllm"), "no llama-server"),
        (("docker", "run", "ghcr.io/ggml-org/llama.cpp:server", "-m", "/models/x.gguf"), "docker"),
        (("env", "A=1", "/usr/bin/podman", "run", "llama-server"), "podman"),
        (("ssh", "gpu", "llama-server", "-m", "x"), "ssh"),
        (("bash", "-c", "llama-server -m $MODEL"), "variables"),
        (("bash", "-c", "llama-server -m `pick`"), "variables"),
        (("bash", "-c", "llama-server -m 'x"), "cannot be read"),
        (("bash", "start.sh"), "no llama-server"),
        (("sh", "-c", "sh -c \"sh -c 'sh -c llama-server'\""), "no llama-server"),
    ],
)
def test_what_cannot_be_seen_through_is_not_guessed(argv, words):
    """The reason is for people."""
    with pytest.raises(NotUnderstoodError, match=words):
        find_server(argv, {})
