"""LiteLLM as a real client of the service: as an OpenAI-compatible provider and as Anthropic's."""

import asyncio
import contextlib
import gc

import pytest

# LiteLLM warns of its own use of pydantic, differently in every release, and wraps what a warning raises.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def litellm():
    """The library; it takes seconds to import, so only the process that tests it does that."""
    library = pytest.importorskip("litellm", reason="the extra `clients` is not installed")
    # It asks for the event loop of a thread that has none, and so makes one, which then some other test is blamed for.
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        asyncio.set_event_loop(loop)
        yield library
        asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _collected_between_tests():
    """The collector ends its streams; if it came while httpcore holds the lock of its pool, nothing would go on."""
    gc.disable()
    yield
    gc.collect()
    gc.enable()


@pytest.fixture
def complete(service, litellm, monkeypatch):
    """``complete("openai/alpha", messages=...)``: a completion without LiteLLM's retries and hints."""
    monkeypatch.setattr(litellm, "suppress_debug_info", True)

    def call(model, **keys):
        api_base = f"{service.base_url}/v1" if model.startswith("openai/") else service.base_url
        return litellm.completion(model=model, api_base=api_base, api_key="none", num_retries=0, max_retries=0, **keys)

    return call


def test_list(litellm, service, models):
    """The models can be listed by the names that a request takes."""
    found = litellm.get_valid_models(
        check_provider_endpoint=True, custom_llm_provider="openai", api_key="none", api_base=service.base_url
    )
    assert set(found) == set(models)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_chat(complete, messages, sentence, provider):
    """A completion comes from the named model, by either API."""
    for name in ("alpha", "beta"):
        completion = complete(f"{provider}/{name}", messages=messages)
        assert completion.choices[0].message.content == sentence[name]
        assert completion.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_stream(complete, messages, sentence, provider):
    """A stream comes in pieces that make up the sentence, by either API."""
    stream = complete(f"{provider}/alpha", messages=messages, stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == sentence["alpha"]
    assert len([piece for piece in pieces if piece]) >= len(sentence["alpha"].split())


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_tool(litellm, complete, messages, tools, provider):
    """A call of a tool comes with its arguments, by either API, whole or put together from a stream."""
    whole = complete(f"{provider}/caller", messages=messages, tools=tools)
    stream = complete(f"{provider}/caller", messages=messages, tools=tools, stream=True)
    for completion in (whole, litellm.stream_chunk_builder(list(stream))):
        assert completion.choices[0].finish_reason == "tool_calls"
        (call,) = completion.choices[0].message.tool_calls
        assert call.function.name == "weather"
        assert call.function.arguments.replace(" ", "") == '{"city":"Paris"}'


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_usage(complete, messages, provider):
    """The usage counts prompt and answer, and is the same in a stream."""
    whole = complete(f"{provider}/beta", messages=messages, max_tokens=3).usage
    options = {"include_usage": True}
    *_, last = complete(f"{provider}/beta", messages=messages, max_tokens=3, stream=True, stream_options=options)
    assert whole.completion_tokens == last.usage.completion_tokens == 3
    assert whole.prompt_tokens == last.usage.prompt_tokens > 5


def test_embeddings(litellm, service):
    """Embeddings come as numbers; without a format LiteLLM sends null for it, which llama.cpp refuses."""
    one, other = litellm.embedding(
        model="openai/embed",
        input=["one text", "another text"],
        encoding_format="float",
        api_base=f"{service.base_url}/v1",
        api_key="none",
    ).data
    assert len(one["embedding"]) == len(other["embedding"]) == 128
    assert one["embedding"] != other["embedding"]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_errors_name_what_is_wrong(litellm, complete, messages, too_long, provider):
    """A wrong name and a prompt too long are told apart, by either API."""
    with pytest.raises(litellm.NotFoundError, match="alpha"):
        complete(f"{provider}/alfa", messages=messages)
    with pytest.raises(litellm.BadRequestError, match="context size"):
        complete(f"{provider}/alpha", messages=too_long)


def test_failed_start_is_an_error_of_the_server(litellm, complete, messages):
    """A model that cannot start is an error that says which."""
    with pytest.raises(litellm.InternalServerError, match="broken"):
        complete("openai/broken", messages=messages)


def test_loading_state_is_reasoning(complete, service, messages, sentence):
    """The loading state of a cold model is reasoning and never part of the answer."""
    service.call("POST", "/api/models/unload")
    deltas = [chunk.choices[0].delta for chunk in complete("openai/telling", messages=messages, stream=True)]
    assert "".join(delta.content or "" for delta in deltas) == sentence["beta"]
    reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert "loading model: telling" in reasoning


def test_failed_load_after_the_loading_state_raises(litellm, complete, messages):
    """A stream that has begun with the loading state and cannot go on raises with the reason."""
    stream = complete("openai/broken-telling", messages=messages, stream=True)
    with pytest.raises(litellm.ServiceUnavailableError, match="broken-telling failed to start"):
        list(stream)


def test_cancelled_stream_ends_the_work(complete, messages, sentence, last_request):
    """A stream that is closed ends: the next model is served, and the activity says that the client left."""
    stream = complete("openai/endless", messages=messages, max_tokens=32000, stream=True)
    with contextlib.closing(stream.completion_stream):
        next(iter(stream))
    assert complete("openai/beta", messages=messages).choices[0].message.content == sentence["beta"]
    assert last_request("endless")["outcome"] == "client_gone"
