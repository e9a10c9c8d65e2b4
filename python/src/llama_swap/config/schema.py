"""The keys of the configuration file, what they mean, their units and defaults; ``llama-swap schema`` prints them.

Keys and defaults are llama-swap's, except those marked as an addition.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from llama_swap.config.leaves import Count, Flag, Json, Port, Seconds, Size, Text, Whole, one_of
from llama_swap.config.schema_apikeys import ApiKey
from llama_swap.config.schema_model import ModelSection
from llama_swap.config.schema_names import PeerMap, ProfileMap, SelectorMap
from llama_swap.config.schema_routing import GroupMap, MatrixSection, RoutingSection
from llama_swap.config.schema_service import KeepAliveSection, PerformanceSection, StoreSection, UiSection, YieldSection
from llama_swap.config.section import Section, empty_if_null


class StartupSection(Section):
    """What happens when the service starts."""

    preload: tuple[Text, ...] = ()
    """Models to load, by ID, alias or selector (its first target), one after another."""


class HooksSection(Section):
    """What happens at certain moments."""

    on_startup: StartupSection = Field(default=StartupSection(), alias="on_startup")
    """When the service starts."""


class UpstreamSection(Section):
    """The route `/upstream/MODEL/...`."""

    ignore_paths: tuple[Text, ...] = ()
    """Regular expressions; a path that one of them is found in never loads a model. Empty is the default: suffixes of
    pictures, scripts and style sheets."""


_LogLevel: Any = one_of("debug", "info", "warn", "error", fold=True)
_LogTarget: Any = one_of("proxy", "upstream", "both", "none")
_TimeFormat: Any = one_of(
    "",
    "ansic",
    "unixdate",
    "rubydate",
    "rfc822",
    "rfc822z",
    "rfc850",
    "rfc1123",
    "rfc1123z",
    "rfc3339",
    "rfc3339nano",
    "kitchen",
    "stamp",
    "stampmilli",
    "stampmicro",
    "stampnano",
    fold=True,
)


class ConfigFile(Section):
    """The configuration of llama-swap."""

    health_check_timeout: Seconds = 120.0
    """Seconds from the start of a model to ready; 0 is the default of 120."""
    log_level: _LogLevel = "info"
    """Least important messages to log."""
    log_time_format: _TimeFormat = ""
    """How the time of a log line is written; empty for no time."""
    log_to_stdout: _LogTarget = "proxy"
    """Whose lines go to standard output: those of the service, of the models, both or none."""
    log_requests: Json = None
    """Ignored, as by llama-swap."""
    global_ttl: Seconds = Field(default=0.0, alias="globalTTL")
    """Idle seconds after which a model without a `ttl` is unloaded; 0 is never."""
    unload_timeout: Seconds = 10.0
    """Seconds from the request to stop to SIGKILL; 0 is the default of 10."""
    start_port: Port = 5800
    """First port for `${PORT}`; ports in use are skipped."""
    include_aliases_in_list: Flag = False
    """List aliases as models of their own."""
    send_loading_state: Flag = False
    """Tell waiting clients of streamed chats how loading goes, as reasoning text."""
    api_keys: tuple[ApiKey, ...] = ()
    """Keys that clients must send one of; none is no authentication. Each is text, or, new, a section: `{key: TEXT}`,
    `{file: PATH}` or `{credential: NAME}`, with a name and a priority if you like."""
    allowed_hosts: tuple[Text, ...] = ()
    """Host names (an addition) that browsers may use for this service, beside localhost and the machine's own."""
    max_body_size: Size = 0
    """Largest request body (an addition) in bytes or as "100MB", "1GiB"; 0 is no limit."""
    macros: dict[str, Json] = Field(default_factory=dict)
    """Texts, numbers and booleans that `${name}` stands for."""
    upstream: UpstreamSection = UpstreamSection()
    """The route `/upstream/MODEL/...`."""
    models: dict[str, Annotated[ModelSection, BeforeValidator(empty_if_null)]] = Field(default_factory=dict)
    """Models by ID."""
    groups: GroupMap = Field(default_factory=dict)
    """Groups by name; the older spelling of `routing.router.settings.groups`."""
    routing: RoutingSection = RoutingSection()
    """How requests are routed and scheduled."""
    matrix: MatrixSection | None = None
    """Sets of models that may run together; the older spelling of `routing.router.settings.matrix`."""
    profiles: ProfileMap = Field(default_factory=dict)
    """Sets of names that mean another model, by name; one of them may be made the active one while the service runs."""
    selectors: SelectorMap = Field(default_factory=dict)
    """Names that stand for one of several models."""
    peers: PeerMap = Field(default_factory=dict)
    """Other servers with models of their own, by name."""
    store: StoreSection = StoreSection()
    """Where the list of finished requests is kept."""
    metrics_max_in_memory: Whole = 1000
    """Finished requests to remember when there is no `store.path`; 0 or less is the default of 1000."""
    capture_buffer: Count = 0
    """Megabytes (2^20 bytes) for whole requests and answers, for debugging; 0 (llama-swap: 5) captures none."""
    performance: PerformanceSection = PerformanceSection()
    """Figures about the machine."""
    ui: UiSection = UiSection()
    """What the pages show."""
    yielding: YieldSection = Field(default=YieldSection(), alias="yield")
    """When the devices are left to other programs (an addition), and how."""
    keep_alive: KeepAliveSection = KeepAliveSection()
    """How long models stay loaded when requests say so (an addition)."""
    hooks: HooksSection = HooksSection()
    """What happens at certain moments."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file."""
    schema = ConfigFile.model_json_schema()
    schema["patternProperties"] = {"^x-": {"description": "A place for YAML anchors; ignored."}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
