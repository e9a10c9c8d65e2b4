"""pydantic-ai, the library of agents, as a real client of the service."""

import openai
import pytest
from pydantic import BaseModel

QUESTION = "Who are you?"


class Weather(BaseModel):
    """Arguments of the tool ``weather``."""

    city: str


@pytest.fixture(scope="module")
def pydantic_ai():
    """The library; it takes seconds to import, so only the process that tests it does that."""
    return pytest.importorskip("pydantic_ai", reason="the extra `clients` is not installed")


@pytest.fixture
async def agent(service, pydantic_ai):
    """``agent("alpha")``: an agent on a model of the service, strict about its answers."""
    models = pytest.importorskip("pydantic_ai.models.openai")
    providers = pytest.importorskip("pydantic_ai.providers.openai")
    async with openai.AsyncOpenAI(
        base_url=f"{service.base_url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        provider = providers.OpenAIProvider(openai_client=client)
        yield lambda name, **keys: pydantic_ai.Agent(models.OpenAIChatModel(name, provider=provider), **keys)


async def test_chat(agent, sentence):
    """An agent's answer comes from the named model."""
    for name in ("alpha", "beta"):
        assert (await agent(name).run(QUESTION)).output == sentence[name]


async def test_stream(agent, sentence):
    """A streamed answer comes in pieces that make up the sentence."""
    async with agent("alpha").run_stream(QUESTION) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == sentence["alpha"]
    assert len(pieces) >= len(sentence["alpha"].split())


async def test_structured_output(pydantic_ai, agent):
    """An output with a type is asked for as a tool and validated."""
    output_type = pydantic_ai.ToolOutput(Weather, name="weather")
    assert (await agent("caller", output_type=output_type).run(QUESTION)).output == Weather(city="Paris")


async def test_tool_is_called(pydantic_ai, agent):
    """A tool runs with the arguments of the model and its result goes back; the model that only calls is then asked."""
    cities = []

    def weather(city: str) -> str:
        cities.append(city)
        return "rain"

    with pydantic_ai.capture_run_messages() as history, pytest.raises(pydantic_ai.exceptions.UsageLimitExceeded):
        await agent("caller", tools=[weather]).run(QUESTION, usage_limits=pydantic_ai.UsageLimits(request_limit=2))
    assert cities == ["Paris", "Paris"]
    parts = [part for message in history for part in message.parts]
    assert [part.tool_name for part in parts if isinstance(part, pydantic_ai.ToolCallPart)] == ["weather", "weather"]
    assert [part.content for part in parts if isinstance(part, pydantic_ai.ToolReturnPart)][:1] == ["rain"]


async def test_usage(agent, last_request):
    """The usage of an agent is that of the service's activity, streamed or not."""
    whole = await agent("beta").run(QUESTION)
    assert whole.usage.output_tokens == last_request("beta")["tokens"]["output_tokens"] > 5
    async with agent("beta").run_stream(QUESTION) as streamed:
        await streamed.get_output()
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.input_tokens == whole.usage.input_tokens > 5


async def test_loading_state_is_thinking(pydantic_ai, agent, service, sentence):
    """The loading state of a cold model is a part of its own and never part of the answer."""
    service.call("POST", "/api/models/unload")
    async with agent("telling").run_stream(QUESTION) as result:
        assert await result.get_output() == sentence["beta"]
    thinking, text = result.all_messages()[-1].parts
    assert isinstance(thinking, pydantic_ai.ThinkingPart)
    assert "loading model: telling" in thinking.content
    assert text == pydantic_ai.TextPart(sentence["beta"])


async def test_failed_load_after_the_loading_state_raises(pydantic_ai, agent):
    """A stream that has begun with the loading state and cannot go on raises with the reason."""
    with pytest.raises((pydantic_ai.exceptions.ModelAPIError, openai.APIError), match="broken-telling"):
        async with agent("broken-telling").run_stream(QUESTION) as result:
            await result.get_output()


async def test_errors_name_what_is_wrong(pydantic_ai, agent):
    """A wrong name, a model that cannot start and a prompt too long are told apart by status and message."""
    for name, prompt, status, words in (
        ("alfa", QUESTION, 404, "alpha"),
        ("broken", QUESTION, 500, "broken"),
        ("alpha", "x" * 40000, 400, "context size"),
    ):
        with pytest.raises(pydantic_ai.exceptions.ModelHTTPError, match=words) as caught:
            await agent(name).run(prompt)
        assert caught.value.status_code == status


async def test_cancelled_stream_ends_the_work(agent, sentence, last_request):
    """Leaving a stream ends it: the next model is served, and the activity says that the client left."""
    async with agent("endless").run_stream(QUESTION, model_settings={"max_tokens": 32000}) as result:
        await anext(result.stream_text(delta=True, debounce_by=None))
        await result.cancel()
    assert (await agent("beta").run(QUESTION)).output == sentence["beta"]
    assert last_request("endless")["outcome"] == "client_gone"
