"""Models for real clients: they talk, call a tool, go on for ever, tell that they load, or never start.

The clients run as their users run them, but strict where they can be: an answer that lacks a field fails the test.
"""

import json
import os
from typing import Any

import pytest

# Both are read when the package is imported. LiteLLM fetches its list of prices otherwise; nothing here may leave the
# machine.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_MODE"] = "PRODUCTION"

from llama_swap.demo.tiny_gguf import TinyModel, write_tiny_model

CALLER = TinyModel("caller", '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>', seed=3)

# llama.cpp learns from the template how a model writes a call, so it has to render one exactly as CALLER says it.
_TEMPLATE_WITH_TOOLS = """\
{%- if tools %}<|system|>Call a tool within <tool_call></tool_call> tags:{% for tool in tools %}
{{ tool | tojson }}{% endfor %}</s>{% endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' %}<|user|><tool_response>{{ message.content }}</tool_response>
{%- else %}<|{{ message.role }}|>{% if message.content %}{{ message.content }}{% endif -%}
{%- for call in message.tool_calls or [] -%}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor -%}
{%- endif -%}
</s>
{%- endfor -%}
{%- if add_generation_prompt %}<|assistant|>{% endif -%}
"""


@pytest.fixture(scope="module")
def models(model, tmp_path_factory) -> dict[str, Any]:
    """Models by what they do; ``broken`` ones fail within moments."""
    folder = tmp_path_factory.mktemp("caller")
    template = folder / "tools.jinja"
    template.write_text(_TEMPLATE_WITH_TOOLS, encoding="utf-8")
    caller = write_tiny_model(folder / "caller.gguf", CALLER)
    return {
        "alpha": model("alpha", aliases=["first"]),
        "beta": model("beta"),
        "embed": model("alpha", "--embeddings", "--pooling", "mean"),
        "caller": model(caller, "--jinja", "--chat-template-file", str(template)),
        "endless": model("alpha", "--ignore-eos"),
        "telling": model("beta", sendLoadingState=True),
        "broken": {**model("alpha"), "cmd": "false ${PORT}"},
        # Long enough for its clients to hear that it loads.
        "broken-telling": {**model("alpha"), "cmd": "sh -c 'sleep 0.3; exit 3' ${PORT}", "sendLoadingState": True},
    }


@pytest.fixture
def messages() -> list[dict[str, str]]:
    """A conversation of one message."""
    return [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def too_long() -> list[dict[str, str]]:
    """A conversation that fits no context here."""
    return [{"role": "user", "content": "x" * 40000}]


@pytest.fixture
def parameters() -> dict[str, Any]:
    """JSON Schema of the arguments of the tool ``weather``."""
    return {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
def tools(parameters) -> list[dict[str, Any]]:
    """The tool ``weather`` as OpenAI's API writes it."""
    function = {"name": "weather", "description": "Weather of a city.", "parameters": parameters}
    return [{"type": "function", "function": function}]


@pytest.fixture
def last_request(service):
    """``last_request("alpha")``: the row of the model's last request, which is there when a later one is answered."""

    def row(model: str) -> dict[str, Any]:
        answer = service.call("GET", f"/api/metrics/activity?model={model}&limit=1")
        rows = answer.json()["data"]
        assert rows, json.dumps(service.call("GET", "/api/metrics/activity").json())
        return rows[0]

    return row
