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


MORE = """
models: {a: {cmd: "srv ${PORT}"}, b: {cmd: "srv ${PORT} b"}}
selectors:
  auto: {strategy: spillover, targets: [a, x], settings: {spillover: 4}}
  best: {strategy: pin, targets: [b]}
profiles: {work: {pins: {chat: a, old: ~}}}
peers:
  far: {proxy: "https://me:hunter2@far.example", models: [x, y], apiKey: tell-nobody}
  near: {proxy: "http://near", models: [z]}
store: {path: "activity.sqlite"}
captureBuffer: 3
"""


def test_everything_with_a_name_is_shown(load):
    """Each kind of name has a table; secrets of peers are hidden."""
    text = render_check(
        load(f"{MORE}\ngroups: {{g: {{swap: false, persistent: true, members: [a, b]}}}}"), redact_env={}
    )
    tables = text[text.index("GROUP  SWAP") :]
    assert tables == (
        "GROUP  SWAP  EXCLUSIVE  PERSISTENT  MEMBERS\n"
        "g      no    yes        yes         a, b\n\n"
        "SELECTOR  STRATEGY            TARGETS\n"
        "auto      spillover (4 each)  a, x\n"
        "best      pin                 b\n\n"
        "PROFILE  PINS\n"
        "work     chat -> a, old -> (off)\n\n"
        "PEER  URL                  KEY   MODELS\n"
        "far   https://far.example  own   x, y\n"
        "near  http://near          none  z\n\n"
        "requests are kept in: activity.sqlite\n"
        "whole requests and answers are kept in memory: 3 MB\n"
    )


def test_matrix(load):
    """Each set with its expression in one line, then what the names in it mean and cost."""
    matrix = 'matrix: {vars: {x: a}, sets: {s: "x &\\n  b", other: x}, evict_costs: {b: 9}, tieBreak: lru}'
    text = render_check(load(f"{MORE}\n{matrix}"), redact_env={})
    assert (
        "SET    MAY RUN TOGETHER\n"
        "s      x & b\n"
        "other  x\n"
        "  names: x = a\n"
        "  costs to stop: b 9\n"
        "  among equally cheap sets: lru\n"
    ) in text


def test_secrets_of_peers_are_hidden_everywhere(load):
    """A key that stands in a command too is hidden there."""
    text = render_check(load(MORE.replace("srv ${PORT} b", "srv ${PORT} tell-nobody")), redact_env={})
    assert "tell-nobody" not in text


def test_nothing_secret(load):
    """Keys, tokens, passwords and values from the environment are hidden."""
    text = render_check(load(TEXT, env={"SECRET": "tell-nobody"}), redact_env={"SECRET": "tell-nobody"})
    for secret in ("sesame", "hunter2", "tell-nobody"):
        assert secret not in text
    assert "--x '${env.SECRET}'" in text


def test_nothing_to_show(load):
    """A file without models is ok."""
    assert render_check(load(""), redact_env={}).endswith("config.yaml: 0 models\n")


FIT = """
models:
  a:
    {cmd: "srv ${PORT}", vram: {0: 10GiB, 1: 8GiB}, ram: 4GiB, pin: true, evictCost: 2.5, env: [CUDA_VISIBLE_DEVICES=0]}
  b: {cmd: "docker run ${PORT}"}
  c: {cmd: "srv ${PORT} -ngl 0"}
yield: {freeBelow: 6GiB}
"""


def test_memory_is_shown(load):
    """Who decides, what stays free, where figures are kept, what is declared and which devices are named."""
    text = render_check(load(FIT, env={"STATE_DIRECTORY": "/s"}), redact_env={})
    assert (
        "router: fit where devices can be measured, else one model at a time\n"
        "stays free: 512MiB of each device, 1GiB of the machine\n"
        "what models took is kept in: /s/footprints.json\n"
        "yields a device when others leave less than 6GiB free\n"
    ) in text
    assert "  memory: vram {0: 10GiB, 1: 8GiB}, ram 4GiB, pinned, evict cost 2.5, devices 0\n" in text
    assert "  memory: devices by its own choice\n" in text
    assert "  memory: devices none\n" in text


def test_router_by_choice(load):
    """What was chosen is said as it is, with the keys that mean nothing to it."""
    chosen = render_check(load(f"{FIT}routing: {{router: {{use: fit}}}}"), redact_env={})
    assert "router: fit\n" in chosen
    assert "kept in: memory only\n" in chosen
    text = render_check(load(f"{FIT}groups: {{g: {{members: [b]}}}}"), redact_env={})
    assert "router: group\nnote: vram, ram and evictCost mean nothing to this router: a\n" in text
    assert "stays free" not in text
