"""From checked sections to values."""

from pathlib import Path
from textwrap import dedent

import pytest

from llama_swap.config import Capabilities, Filters, PortBook, Timeouts
from llama_swap.scheduler.spec import (
    Limits,
)

CMD = "cmd: srv --port ${PORT}"


def test_defaults(model):
    """A model with nothing but a command has llama-swap's defaults, and no hidden limit of requests."""
    found = model(CMD)
    assert (found.ttl_seconds, found.unload_timeout_seconds, found.health_check_timeout_seconds) == (0, 10, 120)
    assert (found.proxy, found.check_endpoint, found.stop_argv) == ("http://localhost:5800", "/health", None)
    assert (found.concurrency_limit, found.capabilities, found.timeouts) == (0, None, Timeouts())
    assert (found.filters, found.aliases, found.env, found.unlisted) == (Filters(), (), (), False)
    assert (found.send_loading_state, found.ignore_websockets) == (False, False)


def test_defaults_of_the_file(load):
    """An empty file is a configuration."""
    config = load("")
    assert (config.models, config.names, config.api_keys, config.preload) == ({}, {}, (), ())
    assert (config.log_level, config.log_time_format, config.log_to_stdout) == ("info", "", "proxy")
    assert (config.start_port, config.max_body_bytes, config.include_aliases_in_list) == (5800, 0, False)
    assert config.scheduler.limits == Limits(fair_share_seconds=0)
    assert config.scheduler.matrix is None
    assert (config.profiles, config.selectors, config.peers, config.peer_names) == ({}, {}, {}, {})
    assert (config.store_path, config.store_max_rows, config.store_max_age_days) == (None, 0, 0)
    assert (config.metrics_max_in_memory, config.capture_buffer_bytes) == (1000, 0)
    assert (config.performance_enabled, config.performance_every_seconds) == (True, 5)
    assert config.session_id_headers == ("X-Session-ID", "X-Litellm-Session-Id")
    assert config.ignore_paths[0].search("/a/b.css")
    assert not config.ignore_paths[0].search("/a/b.cssx")


@pytest.mark.parametrize(
    ("top", "keys", "ttl"),
    [
        ("", "", 0),
        ("globalTTL: 60", "", 60),
        ("globalTTL: 60", "ttl: 0", 0),
        ("globalTTL: 60", "ttl: 5", 5),
        ("globalTTL: 60", "ttl: -1", 60),
    ],
)
def test_ttl(model, top, keys, ttl):
    """-1 and nothing mean the global value; 0 is never."""
    assert model(f"{CMD}\n{keys}", top=top).ttl_seconds == ttl


@pytest.mark.parametrize(
    ("top", "keys", "grace", "start"),
    [
        ("unloadTimeout: 0\nhealthCheckTimeout: 0", "", 10, 120),
        ("unloadTimeout: 5\nhealthCheckTimeout: 3", "", 5, 3),
        ("unloadTimeout: 5\nhealthCheckTimeout: 3", "unloadTimeout: 7\nhealthCheckTimeout: 1h", 7, 3600),
        ("unloadTimeout: 5", "unloadTimeout: 0\nhealthCheckTimeout: 0", 5, 120),
    ],
)
def test_timeouts_of_start_and_stop(model, top, keys, grace, start):
    """A model's value wins, 0 means the next default, and a short health check is not lengthened."""
    found = model(f"{CMD}\n{keys}", top=top)
    assert (found.unload_timeout_seconds, found.health_check_timeout_seconds) == (grace, start)


@pytest.mark.parametrize(("given", "endpoint"), [("none", None), ("v1/x", "/v1/x"), ("/", "/"), ("''", "/")])
def test_check_endpoint(model, given, endpoint):
    """`none` asks nothing; a slash is added."""
    assert model(f"{CMD}\ncheckEndpoint: {given}").check_endpoint == endpoint


def test_environment_of_a_model(model):
    """Entries keep their order and everything after the first `=`."""
    assert model(f"{CMD}\nenv: [B=1, A=x=y, B=, 'C= d']").env == (("B", "1"), ("A", "x=y"), ("B", ""), ("C", " d"))


def test_filters(model):
    """Stripped names are trimmed and never `model`; parameters keep their order, types and dots."""
    found = model(
        f"""
        {CMD}
        filters:
          stripParams: " temperature, model,,top_p , temperature"
          setParams: {{z: 1.50, a.b: [1, {{c: null}}], model: x}}
          setParamsByID: {{"m:x": {{k: v, model: y}}}}
        """
    ).filters
    assert found.strip_params == ("temperature", "top_p")
    assert list(found.set_params.items()) == [("z", 1.5), ("a.b", [1, {"c": None}])]
    assert found.set_params_by_id == {"m:x": {"k": "v"}}


def test_old_spelling_of_strip_params(model):
    """`strip_params` works where `stripParams` is not given."""
    assert model(f"{CMD}\nfilters: {{strip_params: a}}").filters.strip_params == ("a",)
    assert model(f"{CMD}\nfilters: {{strip_params: a, stripParams: b}}").filters.strip_params == ("b",)


def test_capabilities_and_timeouts(model):
    """Each key reaches its field; an empty block of capabilities is none."""
    found = model(
        f"""
        {CMD}
        capabilities: {{in: [text, image], out: [text], tools: true, reranker: true, context: 4096}}
        timeouts: {{connect: 1, keepalive: 2, responseHeader: 3, tlsHandshake: 4, expectContinue: 5, idleConn: 1m}}
        """
    )
    assert found.capabilities == Capabilities(("text", "image"), ("text",), tools=True, reranker=True, context=4096)
    assert found.timeouts == Timeouts(1, 3, 4, 60)
    assert model(f"{CMD}\ncapabilities: {{}}").capabilities is None


@pytest.mark.parametrize(
    ("top", "keys", "told"),
    [
        ("sendLoadingState: true", "", True),
        ("sendLoadingState: true", "sendLoadingState: false", False),
        ("sendLoadingState: true", "sendLoadingState: ~", True),
        ("", "sendLoadingState: true", True),
    ],
)
def test_loading_state(model, top, keys, told):
    """A model's own value wins over that of the file."""
    assert model(f"{CMD}\n{keys}", top=top).send_loading_state is told


def test_websockets(load):
    """WebSockets are ignored where asked for, and always for ComfyUI, whose page also needs many requests at once."""
    models = load(
        f"""
        models:
          a: {{{CMD}, compat: {{ignoreWebsockets: true}}}}
          comfyui_auto: {{{CMD}, concurrencyLimit: 3, compat: {{ignoreWebsockets: false}}}}
        """
    ).models
    assert all(model.ignore_websockets for model in models.values())
    assert [model.concurrency_limit for model in models.values()] == [0, 50]


@pytest.mark.parametrize(("given", "limit"), [(0, 0), (49, 50), (60, 60)])
def test_requests_of_comfyui(load, given, limit):
    """A limit below 50 is raised; no limit stays none."""
    config = load(f"models: {{comfyui_auto: {{{CMD}, concurrencyLimit: {given}}}}}")
    assert config.scheduler.models["comfyui_auto"].concurrency_limit == limit


def test_commands(model):
    """The text keeps its lines but no comments; the redacted one is one line without secrets."""
    found = model(
        """
        cmd: |
          srv --port ${PORT}
          # comment
          --api-key literal --hf-token=abc -x ${env.X} --max-tokens 5
        cmdStop: "stop --now '${PID} x'"
        """,
        env={"X": "val"},
    )
    assert found.command == "srv --port 5800\n--api-key literal --hf-token=abc -x val --max-tokens 5"
    assert found.redacted_command == (
        "srv --port 5800 --api-key REDACTED --hf-token=REDACTED -x '${env.X}' --max-tokens 5"
    )
    assert found.stop_argv == ("stop", "--now", "${PID} x")


def test_no_command(load):
    """A model that only has an address loads; whoever starts it gets no arguments."""
    model = load("models: {m: {proxy: 'http://10.0.0.2:80/base'}}").models["m"]
    assert (model.argv, model.port, model.proxy) == ((), None, "http://10.0.0.2:80/base")


def test_comments_only(model):
    """A command of comments is empty."""
    assert model("proxy: http://h\ncmd: |\n  # a\n  # b").argv == ()


BASE = f"{CMD}\nttl: 5\nname: a\naliases: [x]\nfilters: {{setParams: {{t: 1}}}}"


@pytest.mark.parametrize(
    ("keys", "same"),
    [
        (f"{CMD}\nttl: 6\nname: b\ndescription: d\naliases: [y]\nmetadata: {{a: 1}}\nunlisted: true", True),
        (f"{CMD}\nuseModelName: z\nconcurrencyLimit: 3\nunloadTimeout: 99\nhealthCheckTimeout: 9", True),
        ("cmd: |\n  srv   --port \\\n  ${PORT} # no\n".replace(" # no", ""), True),
        ("cmd: [srv, --port, '${PORT}']", True),
        (f"{CMD} -c 1", False),
        (f"{CMD}\nenv: [A=1]", False),
        (f"{CMD}\nproxy: http://127.0.0.1:${{PORT}}", False),
        (f"{CMD}\ncheckEndpoint: /x", False),
        (f"{CMD}\ncmdStop: x", False),
    ],
)
def test_fingerprint(model, keys, same):
    """It changes with what starts and reaches the process, and with nothing else."""
    assert (model(BASE).fingerprint == model(keys).fingerprint) == same


def test_fingerprint_and_port(load):
    """Another port alone is the same process; another `startPort` is not, for those who use a port."""
    text = f"models: {{a: {{{CMD}}}, b: {{cmd: x, proxy: 'http://h'}}}}"
    first = load(text)
    busy = load(text, ports=PortBook(lambda port: port > 5900))
    moved = load(f"startPort: 6000\n{text}")
    assert first.models["a"].port != busy.models["a"].port
    assert first.models["a"].fingerprint == busy.models["a"].fingerprint == first.rebind("a", 7000).fingerprint
    assert first.models["a"].fingerprint != moved.models["a"].fingerprint
    assert first.models["b"].fingerprint == moved.models["b"].fingerprint


def test_fingerprint_and_environment(model):
    """It changes with the value of a variable in the command."""
    keys = "cmd: srv ${PORT} ${env.X}"
    assert model(keys, env={"X": "1"}).fingerprint != model(keys, env={"X": "2"}).fingerprint


def test_top_level_values(load):
    """The other keys of the file reach their fields."""
    config = load(
        dedent(
            """
            logLevel: WARN
            logToStdout: none
            logTimeFormat: RFC3339
            apiKeys: [one, 2]
            includeAliasesInList: true
            allowedHosts: [LLM.Example.org., "*.lan"]
            maxBodySize: 1KiB
            upstream: {ignorePaths: ["^/x"]}
            store: {path: activity.sqlite, maxRows: 5, maxAgeDays: 6}
            metricsMaxInMemory: 7
            captureBuffer: 2
            performance: {disabled: true, every: 1m}
            ui: {activity: {session_id: [" A ", a, "", B]}}
            """
        )
    )
    assert (config.store_path, config.store_max_rows, config.store_max_age_days) == (Path("activity.sqlite"), 5, 6)
    assert (config.metrics_max_in_memory, config.capture_buffer_bytes) == (7, 2 * 1024 * 1024)
    assert (config.performance_enabled, config.performance_every_seconds) == (False, 60)
    assert config.session_id_headers == ("A", "B")
    assert (config.log_level, config.log_to_stdout, config.log_time_format) == ("warn", "none", "rfc3339")
    assert (config.api_keys, config.include_aliases_in_list) == (("one", "2"), True)
    assert (config.allowed_hosts, config.max_body_bytes) == (("llm.example.org", "*.lan"), 1024)
    assert [pattern.pattern for pattern in config.ignore_paths] == ["^/x"]


@pytest.mark.parametrize("text", ["metricsMaxInMemory: 0", "metricsMaxInMemory: -1", "performance: {every: 0}"])
def test_zero_is_the_default(load, text):
    """As for llama-swap."""
    config = load(text)
    assert (config.metrics_max_in_memory, config.performance_every_seconds) == (1000, 5)


def test_no_session_headers(load):
    """An empty list switches them off."""
    assert load("ui: {activity: {session_id: []}}").session_id_headers == ()
