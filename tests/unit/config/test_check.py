"""The text of `llama-swap check`."""

from llama_swap.config import render_check

TEXT = """
apiKeys: [sesame-open]
logRequests: true
groups: {g: {members: [b]}}
models:
  a:
    cmd: srv --port ${PORT} --api-key hunter2 --other sesame-open --x ${env.SECRET}
    cmdStop: stop --token hunter2 ${PID}
    proxy: http://me:hunter2@127.0.0.1:${PORT}
    env: [HF_TOKEN=hunter2, PLAIN=shown, "HALF=x${env.SECRET}"]
    ttl: 90s
    aliases: [al, el]
  b: {cmd: "b ${PORT}"}
"""


def test_table_and_details(load):
    """Each model has a row and its command; warnings come last."""
    text = render_check(load(TEXT, env={"SECRET": "tell-nobody"}), redact_env={"SECRET": "tell-nobody"})
    lines = text.splitlines()
    assert lines[0].startswith("ok: ")
    assert lines[0].endswith("config.yaml: 2 models, API keys: 1")
    assert lines[2:5] == [
        "MODEL  PORT  TTL    GROUP  ALIASES",
        "a      5800  90s    -      al, el",
        "b      5801  never  g      -",
    ]
    assert "  command: b 5801" in lines
    assert "PLAIN=shown" in text
    assert "logRequests" in lines[-1]


def test_nothing_secret(load):
    """Keys, tokens, passwords and values from the environment are hidden."""
    text = render_check(load(TEXT, env={"SECRET": "tell-nobody"}), redact_env={"SECRET": "tell-nobody"})
    for secret in ("sesame", "hunter2", "tell-nobody"):
        assert secret not in text
    assert "--x '${env.SECRET}'" in text


def test_nothing_to_show(load):
    """A file without models is ok."""
    assert render_check(load(""), redact_env={}).endswith("config.yaml: 0 models\n")
