"""The openai package as a real client of the service.

It checks every answer against its types (``_strict_response_validation``), which its users do not even do.
"""

import contextlib
import json
import os
import signal

import openai
import pytest


@pytest.fixture
def sent():
    """Paths of the requests that the client sent, retries included."""
    return []


@pytest.fixture
def client(service, sent):
    """A client with the retries that people have by default."""
    http_client = openai.DefaultHttpxClient(event_hooks={"request": [lambda request: sent.append(request.url.path)]})
    with openai.OpenAI(
        base_url=f"{service.base_url}/v1", api_key="none", http_client=http_client, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
def lenient(service):
    """A client with the settings that people have."""
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none") as client:
        yield client


def test_list(client, models):
    """The models can be listed by the names that a request takes."""
    assert {model.id for model in client.models.list()} == set(models)


def test_chat(client, sentence, messages):
    """A chat completion comes from the named model."""
    for name in ("alpha", "beta"):
        completion = client.chat.completions.create(model=name, messages=messages)
        assert completion.choices[0].message.content == sentence[name]


def test_stream(client, sentence, messages):
    """A stream is read event by event and ends by itself."""
    with client.chat.completions.create(model="alpha", messages=messages, stream=True) as stream:
        parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(parts) == sentence["alpha"]
    assert len(parts) > len(sentence["alpha"].split())


def test_usage_of_a_stream(client, sentence, messages):
    """The usage that a client asks for comes as the last event of the stream."""
    options = {"include_usage": True}
    with client.chat.completions.create(
        model="alpha", messages=messages, stream=True, stream_options=options
    ) as stream:
        *_, last = stream
    assert last.usage.completion_tokens > len(sentence["alpha"].split())


def test_completion(client, sentence):
    """A text completion stops at its limit of tokens."""
    completion = client.completions.create(model="beta", prompt="x", max_tokens=3)
    assert completion.usage.completion_tokens == 3
    assert sentence["beta"].startswith(completion.choices[0].text.strip())


def test_embeddings(lenient):
    """Embeddings come as numbers, in base64 as the client asks for by itself (which its own types do not foresee)."""
    one, other = lenient.embeddings.create(model="embed", input=["one text", "another text"]).data
    assert len(one.embedding) == len(other.embedding) == 128
    assert one.embedding != other.embedding


def test_unknown_model_is_an_error_that_names_it(client, sent, messages):
    """A wrong name is a 404 with the name in the message, and is not tried again."""
    with pytest.raises(openai.NotFoundError, match="alfa") as caught:
        client.chat.completions.create(model="alfa", messages=messages)
    assert caught.value.code
    assert len(sent) == 1


def test_failed_start_is_not_tried_again_in_vain(client, sent, messages):
    """A model that cannot start is an error of the server at once; the client does not repeat it."""
    with pytest.raises(openai.InternalServerError, match="broken"):
        client.chat.completions.create(model="broken", messages=messages)
    assert len(sent) == 1


def test_error_of_the_upstream_passes(client, too_long):
    """What llama.cpp itself refuses reaches the client as its error, streamed or not."""
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="context size"):
            client.chat.completions.create(model="alpha", messages=too_long, stream=stream)


def test_tool(client, messages, tools):
    """A call of a tool comes with its arguments."""
    choice = client.chat.completions.create(model="caller", messages=messages, tools=tools).choices[0]
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})


def test_tool_in_a_stream(client, messages, tools):
    """A streamed call of a tool is put together from its pieces."""
    with client.chat.completions.stream(model="caller", messages=messages, tools=tools) as stream:
        pieces = [event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta"]
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})
    assert "".join(pieces) == call.function.arguments
    assert len(pieces) > 1


def test_result_of_a_tool_is_taken(client, messages, tools, sentence):
    """The conversation goes on with the result of a call."""
    call = {"id": "one", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    history = [
        *messages,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "one", "content": "rain"},
    ]
    completion = client.chat.completions.create(model="alpha", messages=history, tools=tools)
    assert completion.choices[0].message.content == sentence["alpha"]


def test_usage(client, messages, last_request):
    """The usage counts prompt and answer, and is what the service's activity says."""
    usage = client.chat.completions.create(model="beta", messages=messages, max_tokens=3).usage
    tokens = last_request("beta")["tokens"]
    assert usage.completion_tokens == tokens["output_tokens"] == 3
    assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens
    assert usage.prompt_tokens > 5


def test_responses(lenient, sentence):
    """The API of responses passes, streamed or not; llama.cpp's lacks fields that a strict client wants."""
    assert lenient.responses.create(model="alpha", input="x").output_text == sentence["alpha"]
    with lenient.responses.create(model="alpha", input="x", stream=True) as stream:
        events = list(stream)
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(pieces) == sentence["alpha"]
    assert events[-1].type == "response.completed"


def test_loading_state(client, service, messages, sentence):
    """The chunks that tell that a model loads are as whole as those of its answer, which follows unchanged."""
    service.call("POST", "/api/models/unload")
    with client.chat.completions.create(model="telling", messages=messages, stream=True) as stream:
        chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert "loading model: telling" in reasoning
    assert "Done!" in reasoning
    assert "".join(delta.content or "" for delta in deltas) == sentence["beta"]
    assert {chunk.model for chunk in chunks} == {"telling"}


def test_failed_load_after_the_loading_state_raises(client, messages):
    """A stream that has begun with the loading state and cannot go on raises with the reason."""
    told = []
    with (
        pytest.raises(openai.APIError, match="broken-telling") as caught,
        client.chat.completions.create(model="broken-telling", messages=messages, stream=True) as stream,
    ):
        told.extend(stream)
    assert "loading model: broken-telling" in told[0].choices[0].delta.reasoning_content
    assert caught.value.code == "model_start_failed"


def test_death_of_the_upstream_raises(client, service, messages):
    """A stream whose upstream dies raises with the reason; what came before is not taken for a whole answer."""
    with client.chat.completions.create(model="endless", messages=messages, stream=True, max_tokens=32000) as stream:
        next(stream)
        os.kill(service.upstream("alpha").pid, signal.SIGKILL)
        with pytest.raises(openai.APIError, match="upstream"):
            list(stream)
    service.wait_gone("endless")


def test_cancelled_stream_ends_the_work(client, messages, sentence, last_request):
    """A client that closes a stream ends it: the next model is served, and the activity says that the client left."""
    stream = client.chat.completions.create(model="endless", messages=messages, stream=True, max_tokens=32000)
    with contextlib.closing(stream):
        next(stream)
    completion = client.chat.completions.create(model="beta", messages=messages)
    assert completion.choices[0].message.content == sentence["beta"]
    assert last_request("endless")["outcome"] == "client_gone"
