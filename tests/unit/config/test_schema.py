"""The schema that people and editors see."""

from llama_swap.config import json_schema
from llama_swap.config.schema import ConfigFile
from llama_swap.config.section import INSTEAD, Section
from llama_swap.config.validate import section_at

# The keys of llama-swap v250.
TOP = {
    *("healthCheckTimeout", "logLevel", "logTimeFormat", "logToStdout", "logRequests", "globalTTL", "unloadTimeout"),
    *("startPort", "includeAliasesInList", "apiKeys", "macros", "upstream", "models", "groups", "routing", "hooks"),
    *("matrix", "profiles", "selectors", "peers", "store", "performance", "ui", "captureBuffer", "metricsMaxInMemory"),
    "sendLoadingState",
}
MODEL = {
    *("cmd", "cmdStop", "proxy", "checkEndpoint", "ttl", "unloadTimeout", "aliases", "env", "name", "description"),
    *("unlisted", "useModelName", "concurrencyLimit", "metadata", "capabilities", "filters", "timeouts", "macros"),
    *("sendLoadingState", "compat"),
}


def sections(section=Section):
    """All sections of the schema."""
    for child in section.__subclasses__():
        yield child
        yield from sections(child)


def test_keys_of_llama_swap():
    """Every key of llama-swap's is there, beside the additions."""
    schema = json_schema()
    assert set(schema["properties"]) == TOP | {"allowedHosts", "maxBodySize", "yield", "keepAlive"}
    assert set(schema["$defs"]["ModelSection"]["properties"]) == MODEL | {
        *("healthCheckTimeout", "vram", "ram", "pin", "evictCost"),
    }
    assert set(schema["$defs"]["TimeoutsSection"]["properties"]) == {
        *("connect", "keepalive", "responseHeader", "tlsHandshake", "expectContinue", "idleConn"),
    }
    assert set(schema["$defs"]["FiltersSection"]["properties"]) == {
        *("stripParams", "strip_params", "setParams", "setParamsByID"),
    }


def test_every_key_is_described():
    """Each key and each section has a description, and unknown keys are not allowed."""
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        assert part["additionalProperties"] is False
        assert all(key["description"] for key in part["properties"].values()), part["title"]


def test_forms_of_values():
    """A duration may be a number, a text, or a macro."""
    kinds = json_schema()["properties"]["globalTTL"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["number", "string", "string"]


def test_hints_are_about_the_schema():
    """Keys that are told to be elsewhere are not keys of that section, and the sections exist."""
    known = {section.__name__: section for section in sections()}
    for name, keys in INSTEAD.items():
        assert not {str(field.alias).casefold() for field in known[name].model_fields.values()} & {
            key.casefold() for key in keys
        }


def test_section_at():
    """A path leads to its section, through mappings of names."""
    assert section_at(()) is ConfigFile
    assert section_at(("models", "m", "filters")).__name__ == "FiltersSection"
    assert section_at(("routing", "router", "settings", "groups", "g")).__name__ == "GroupSection"
    assert section_at(("apiKeys", 1)).__name__ == "ApiKeySection"
    assert section_at(("models", "m", "aliases", 0)) is None
    assert section_at(("nowhere", "x")) is None
