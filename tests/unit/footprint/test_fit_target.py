"""Which servers are told to leave more free than they would, and how."""

import pytest

from llama_swap.footprint.fit_target import fit_target

GIB = 1 << 30


@pytest.mark.parametrize(
    ("command", "kept_bytes", "target"),
    [
        ("llama-server -m a", 6 * GIB, "6144"),
        ("llama-server -m a", 6 * GIB + 1, "6145"),
        ("llama-server -m a", GIB, None),
        ("llama-server -m a", 0, None),
        ("nice -n 5 /opt/llama-server -m a -c 4096", 6 * GIB, "6144"),
        ("llama-server -m a -c 4096 -ngl 99", 6 * GIB, None),
        ("llama-server -m a --fit off", 6 * GIB, None),
        ("llama-server -m a --fit-target 512", 6 * GIB, None),
        ("llama-server -m a --fit_target=512,512", 6 * GIB, None),
        ("llama-server -m a -fitt 512", 6 * GIB, None),
        ("env LLAMA_ARG_FIT_TARGET=512 llama-server -m a", 6 * GIB, None),
        ("llama-server -m a -ngl many", 6 * GIB, None),
        ("docker run llama-server -m a", 6 * GIB, None),
        ("vllm serve a", 6 * GIB, None),
        ("", 6 * GIB, None),
    ],
)
def test_who_is_told(command, kept_bytes, target):
    """Those that make themselves smaller, unless somebody has said how much; nobody is told to leave less."""
    told = fit_target(tuple(command.split()), {"PATH": "/bin"}, kept_bytes)
    assert told == ({} if target is None else {"LLAMA_ARG_FIT_TARGET": target})


def test_a_variable_that_is_set_already():
    """Of the service's or of the model's."""
    assert fit_target(("llama-server",), {"LLAMA_ARG_FIT_TARGET": "0"}, 6 * GIB) == {}
