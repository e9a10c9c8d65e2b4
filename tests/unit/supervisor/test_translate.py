"""What is configured, in the words of others."""

import pytest

from llama_swap.config import PortBook, load_config
from llama_swap.supervisor.translate import upstream_timeouts


@pytest.mark.parametrize(
    ("timeouts", "idle_seconds"),
    [("{}", 4.0), ("{idleConn: 0}", 4.0), ("{idleConn: 60}", 4.0), ("{idleConn: 2}", 2.0)],
)
def test_unused_connections_end_before_llama_server_closes_them(tmp_path, timeouts, idle_seconds):
    """Its HTTP library does it after five seconds, and a request that is just then on its way would be lost."""
    path = tmp_path / "config.yaml"
    path.write_text(f"models: {{m: {{cmd: 'srv ${{PORT}}', timeouts: {timeouts}}}}}")
    model = load_config([path], env={}, ports=PortBook(lambda _port: True)).models["m"]
    assert upstream_timeouts(model).idle_conn == idle_seconds
