"""The keys of one model, what they mean, their units and defaults."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from llama_swap.config.leaves import Command, Cost, Count, Flag, IdleSeconds, Json, Seconds, Text, Whole, one_of
from llama_swap.config.section import Section, empty_if_null
from llama_swap.config.sizes import Memory, Vram


class FiltersSection(Section):
    """Changes to JSON request bodies, in the order of these keys."""

    strip_params: Text = ""
    """Parameters to remove, separated by commas; `model` is never removed."""
    strip_params_legacy: Text = Field(default="", alias="strip_params")
    """An older spelling of `stripParams`."""
    set_params: dict[str, Json] = Field(default_factory=dict)
    """Parameters to set, whatever the client sent. A dot in a name addresses a nested field."""
    set_params_by_id: dict[str, Annotated[dict[str, Json], BeforeValidator(empty_if_null)]] = Field(
        default_factory=dict, alias="setParamsByID"
    )
    """Requested name -> parameters to set after `setParams`. In a model every name here becomes an alias."""


class TimeoutsSection(Section):
    """Limits on each step of a request to the upstream, in seconds; 0 is no limit."""

    connect: Seconds = 30.0
    """Seconds to open a connection."""
    keepalive: Seconds = 30.0
    """Accepted without effect; in llama-swap the seconds between TCP keep-alive probes."""
    response_header: Seconds = 0.0
    """Seconds from the end of the request to the first byte of the answer."""
    tls_handshake: Seconds = 10.0
    """Seconds for a TLS handshake."""
    expect_continue: Seconds = 1.0
    """Accepted without effect; in llama-swap the seconds to wait for `100 Continue`."""
    idle_conn: Seconds = 90.0
    """Seconds after which an unused connection is closed; to models at most 4, before llama.cpp's server closes it."""


_Modality: Any = one_of("text", "audio", "image")


class CapabilitiesSection(Section):
    """What the model can do, for the list of models."""

    inputs: tuple[_Modality, ...] = Field(default=(), alias="in")
    """What it reads: text, audio, image."""
    outputs: tuple[_Modality, ...] = Field(default=(), alias="out")
    """What it writes: text, audio, image."""
    tools: Flag = False
    """It can call functions."""
    reranker: Flag = False
    """It ranks documents."""
    context: Count = 0
    """Size of the context in tokens; 0 is unknown."""


class CompatSection(Section):
    """Ways of a server that need to be put up with."""

    ignore_websockets: Flag = False
    """WebSockets neither load the model nor keep it loaded nor count as requests; always so for `comfyui_auto`."""


class ModelSection(Section):
    """One model: how to start its server and how to reach it."""

    cmd: Command = ""
    """The command, as text (split like a POSIX shell splits words, run without a shell) or, new, as a list of
    arguments. `${PORT}` in it becomes a free port."""
    cmd_stop: Command = ""
    """Command that stops the server, instead of SIGTERM; `${PID}` in it is its process ID."""
    proxy: Text = "http://localhost:${PORT}"
    """Base URL of the server."""
    check_endpoint: Text = "/health"
    """Path that answers 200 when the server is ready; `none` asks nothing."""
    health_check_timeout: Seconds = 0.0
    """Seconds from start to ready (an addition); 0 uses `healthCheckTimeout` of the file."""
    ttl: IdleSeconds = -1.0
    """Idle seconds after which the model is unloaded; 0 is never, -1 uses `globalTTL`."""
    unload_timeout: Seconds = 0.0
    """Seconds from the request to stop to SIGKILL; 0 uses `unloadTimeout` of the file."""
    aliases: tuple[Text, ...] = ()
    """Other names of the model."""
    env: tuple[Text, ...] = ()
    """`NAME=value` entries that are added to the environment of the server."""
    name: Text = ""
    """Name for people."""
    description: Text = ""
    """Description for people."""
    unlisted: Flag = False
    """Leave the model out of the list of models; it still answers."""
    use_model_name: Text = ""
    """Model name to send to the server instead of the requested one."""
    concurrency_limit: Whole = 0
    """Requests at once, waiting ones included; 0 is no limit. At least 50 for `comfyui_auto`."""
    vram: Vram | None = None
    """Memory (an addition) that it takes on the devices, as "18GiB", by device as {0: 10GiB, 1: 8GiB}, or 0 for none;
    what was measured while it ran counts more. It is found out by itself unless given."""
    ram: Memory | None = None
    """Memory of the machine (an addition) that it takes beside that."""
    pin: Flag = False
    """Neither evict it nor unload it for being idle (an addition); whoever asks may still unload it."""
    evict_cost: Cost | None = None
    """What it costs to evict it (an addition), in seconds; unless given, the time it takes to load, weighted by how
    recently and how often it was used."""
    metadata: dict[str, Json] = Field(default_factory=dict)
    """Anything; it is listed under `meta.llamaswap`."""
    capabilities: CapabilitiesSection = CapabilitiesSection()
    """What the model can do."""
    timeouts: TimeoutsSection = TimeoutsSection()
    """Limits on requests to the server."""
    filters: FiltersSection = FiltersSection()
    """Changes to request bodies."""
    send_loading_state: Flag | None = None
    """Tell waiting clients of streamed chats how loading goes; `sendLoadingState` of the file unless given."""
    compat: CompatSection = CompatSection()
    """Ways of the server that need to be put up with."""
    macros: dict[str, Json] = Field(default_factory=dict)
    """Macros of this model; they win over those of the file."""
