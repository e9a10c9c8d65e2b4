"""The keys about names that stand for something else: profiles, selectors, and models of other servers."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from llama_swap.config.apikeys import Key
from llama_swap.config.leaves import Flag, Json, OptionalText, Seconds, Text, Whole, broken
from llama_swap.config.schema_model import FiltersSection, TimeoutsSection
from llama_swap.config.section import Section, empty_if_null


class ProfileSection(Section):
    """Names that mean another model for as long as the profile is the active one."""

    description: Text = ""
    """Description for people."""
    pins: dict[str, OptionalText] = Field(default_factory=dict)
    """Requested name -> model, alias, selector or model of a peer to use; without a value the name is switched off."""


class SelectorSettings(Section):
    """Settings of the strategies."""

    spillover: Whole = 1
    """Requests that each active target gets before the next one is started; at least 1."""


class SelectorSection(Section):
    """A name that stands for one of several models, chosen anew for every request."""

    strategy: Text = ""
    """`pin`: the first target; `warm`: the first ready target, else the first that starts, else the first; `spillover`:
    fill the active targets before the next one is started. Required."""
    targets: tuple[Text, ...] = ()
    """Models, aliases or models of peers, in order of preference. Required."""
    settings: SelectorSettings = SelectorSettings()
    """Settings of the strategies."""
    name: Text = ""
    """Name for people."""
    description: Text = ""
    """Description for people."""
    unlisted: Flag = False
    """Leave the selector out of the list of models; it still answers."""
    metadata: dict[str, Json] = Field(default_factory=dict)
    """Anything; it is listed under `meta.llamaswap`."""


class PeerTimeoutsSection(TimeoutsSection):
    """Limits on each step of a request to a peer, in seconds; 0 is no limit."""

    response_header: Seconds = 60.0
    """Seconds from the end of the request to the first byte of the answer."""


class PeerSection(Section):
    """Another server with models of its own."""

    proxy: Text = ""
    """Base URL of the server; the path of the request is appended. Required."""
    api_key: Key = ""
    """Key to send, instead of what the client sent; text, or, new, `{file: PATH}` or `{credential: NAME}`."""
    models: tuple[Text, ...] = ()
    """Models that it serves; each is known here as `PEER/MODEL`, and by its bare name if no other has it. Required."""
    filters: FiltersSection = FiltersSection()
    """Changes to request bodies."""
    timeouts: PeerTimeoutsSection = PeerTimeoutsSection()
    """Limits on requests to the server."""


def _no_list(raw: Any) -> Any:
    if isinstance(raw, list):
        raise broken(
            "profile must be a mapping with description and pins; the legacy list syntax is no longer supported",
            "pins: {NAME: MODEL}, with as many groups or matrix sets as the list was for",
        )
    return empty_if_null(raw)


ProfileMap = dict[str, Annotated[ProfileSection, BeforeValidator(_no_list)]]
SelectorMap = dict[str, Annotated[SelectorSection, BeforeValidator(empty_if_null)]]
PeerMap = dict[str, Annotated[PeerSection, BeforeValidator(empty_if_null)]]
