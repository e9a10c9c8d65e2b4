"""What is configured, in the words of others."""

import pytest

from llama_swap.config import PortBook, load_config
from llama_swap.supervisor.translate import environment_of, launch_spec, model_facts, upstream_timeouts

GIB = 1 << 30


def model_of(tmp_path, keys):
    """The model m with these keys."""
    path = tmp_path / "config.yaml"
    path.write_text(f"models: {{m: {keys}}}")
    return load_config([path], env={}, ports=PortBook(lambda _port: True)).models["m"]


def test_a_server_that_adapts_is_told_what_stays_free(tmp_path):
    """When it starts and when its need is looked up, since what it takes depends on that; its own variables count."""
    adapting = model_of(tmp_path, "{cmd: 'llama-server --port ${PORT}', env: [X=1]}")
    facts = model_facts(adapting, {"PATH": "/bin"}, 6 * GIB)
    assert facts.env == {"PATH": "/bin", "X": "1", "LLAMA_ARG_FIT_TARGET": "6144"}
    assert facts.kept_bytes == 6 * GIB
    env = environment_of(adapting, {"PATH": "/bin"}, 6 * GIB)
    assert launch_spec(adapting, env, ("GPU-a",)).env == {**facts.env, "CUDA_VISIBLE_DEVICES": "GPU-a"}
    said = model_of(tmp_path, "{cmd: 'llama-server --port ${PORT}', env: [LLAMA_ARG_FIT_TARGET=512]}")
    assert environment_of(said, {}, 6 * GIB) == {"LLAMA_ARG_FIT_TARGET": "512"}


@pytest.mark.parametrize(
    ("timeouts", "idle_seconds"),
    [("{}", 4.0), ("{idleConn: 0}", 4.0), ("{idleConn: 60}", 4.0), ("{idleConn: 2}", 2.0)],
)
def test_unused_connections_end_before_llama_server_closes_them(tmp_path, timeouts, idle_seconds):
    """Its HTTP library does it after five seconds, and a request that is just then on its way would be lost."""
    model = model_of(tmp_path, f"{{cmd: 'srv ${{PORT}}', timeouts: {timeouts}}}")
    assert upstream_timeouts(model).idle_conn == idle_seconds
