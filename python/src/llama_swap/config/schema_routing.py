"""The keys about who may run beside whom and who is served next."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from llama_swap.config.leaves import Count, Flag, Json, Seconds, Text, Whole, one_of
from llama_swap.config.section import Section, empty_if_null
from llama_swap.config.sizes import Memory
from llama_swap.scheduler.spec import FitSpec, Limits, SchedulerSpec

_FIT = FitSpec()
_SCHEDULER = SchedulerSpec()
_LIMITS = Limits()


class GroupSection(Section):
    """Models with common rules about who may run beside whom."""

    swap: Flag = True
    """Starting a member stops the other members."""
    exclusive: Flag = True
    """Starting a member stops the members of all other groups that are not persistent."""
    persistent: Flag = False
    """Other groups never stop its members."""
    members: tuple[Text, ...] = ()
    """IDs of models; a model is in one group at most."""
    preload: Json = None
    """Ignored, as by llama-swap; use `hooks.on_startup.preload`."""


_TieBreak: Any = one_of("definition", "lru")


class MatrixSection(Section):
    """Sets of models that may run together, written as expressions."""

    vars: dict[str, Text] = Field(default_factory=dict)
    """Short name -> ID of a model, for use in expressions; 1 to 32 letters, digits, `-` and `.`."""
    evict_costs: dict[str, Whole] = Field(default_factory=dict, alias="evict_costs")
    """Short name or ID -> what it costs to stop the model, at least 1; the default is 1."""
    sets: dict[str, Text] = Field(default_factory=dict)
    """Name -> expression: `&` is together, `|` is either, `+name` is another set, with parentheses. Required."""
    tie_break: _TieBreak = "definition"
    """Which of several equally cheap sets wins (an addition): the one that stands first, or with `lru` the one that
    keeps the models that were used last."""


class FifoSection(Section):
    """Order and bounds of waiting."""

    priority: dict[str, Whole] = Field(default_factory=dict)
    """Model or alias -> priority; the higher goes first, the default is 0."""
    max_wait: Seconds = 10.0
    """Seconds (an addition) after which a waiting request holds back newcomers to the models in its way; 0 is never."""
    queue_limit: Count = 0
    """Requests (an addition) that may wait at once, over all models; 0 is no limit."""
    queue_timeout: Seconds = 0.0
    """Seconds (an addition) that a request may wait before it is refused; 0 is for ever."""
    backoff_after_failures: Count = 3
    """Failed starts in a row (an addition) that are tried again at once."""
    backoff_first: Seconds = 1.0
    """Seconds (an addition) until the next try after that; each further failure doubles them."""
    backoff_max: Seconds = 60.0
    """Longest wait in seconds (an addition) between two tries."""
    fair_share: Seconds = _LIMITS.fair_share_seconds
    """Seconds (an addition) by which requests of a caller that had more than its share lately are put behind those of
    others at most; callers differ by their API key. 0 treats all alike."""


class SchedulerSettings(Section):
    """Settings of each scheduler."""

    fifo: FifoSection = FifoSection()
    """Settings of `fifo`."""


class SchedulerSection(Section):
    """Who is served next."""

    use: Text = "fifo"
    """Always `fifo`."""
    settings: SchedulerSettings = SchedulerSettings()
    """Settings of each scheduler."""


GroupMap = dict[str, Annotated[GroupSection, BeforeValidator(empty_if_null)]]


class FitSection(Section):
    """Memory decides: models stay together while they fit."""

    headroom: Memory = _FIT.headroom_bytes
    """Memory (an addition) that stays free on each device."""
    host_headroom: Memory = _FIT.host_headroom_bytes
    """Memory of the machine (an addition) that stays free."""
    min_residency: Seconds = _FIT.min_residency_seconds
    """Seconds (an addition) that an idle model stays after it became ready, unless the one that needs its place has
    waited for `maxWait`."""
    release_timeout: Seconds = _SCHEDULER.release_timeout_seconds
    """Seconds (an addition) that the memory of a model that has ended is waited for, under every router."""
    read_ahead: Flag = _FIT.read_ahead
    """Read the file of the next model (an addition) while others make room for it."""
    ask_llama_cpp: Flag = True
    """Ask llama.cpp what a model needs (an addition), where `llama-fit-params` is beside llama-server."""
    learned: Text | None = None
    """File that keeps what models were seen to take (an addition); "" keeps it in memory only. Unless given,
    `footprints.json` in the state directory: of the unit, else `~/.local/state/llama-swap`."""


class RouterSettings(Section):
    """Settings of each router."""

    groups: GroupMap = Field(default_factory=dict)
    """Groups by name."""
    matrix: MatrixSection | None = None
    """Sets of models that may run together."""
    fit: FitSection = FitSection()
    """Memory decides (an addition)."""


class RouterSection(Section):
    """Who may run beside whom."""

    use: Text = "auto"
    """Who decides: `group`, `matrix`, or, new, `fit` (memory). `auto` is `fit` where devices can be measured and
    neither groups nor a matrix are written, else as in llama-swap."""
    settings: RouterSettings = RouterSettings()
    """Settings of each router."""


class RoutingSection(Section):
    """How requests are routed and scheduled."""

    router: RouterSection = RouterSection()
    """Who may run beside whom."""
    scheduler: SchedulerSection = SchedulerSection()
    """Who is served next."""
