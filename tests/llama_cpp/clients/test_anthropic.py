"""The anthropic package as a real client of the service, on /v1/messages."""

import os
import signal

import pytest

anthropic = pytest.importorskip("anthropic", reason="the extra `clients` is not installed")


@pytest.fixture
def client(service):
    """A client that refuses an answer in which a field is missing or wrong."""
    with anthropic.Anthropic(
        base_url=service.base_url, api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
def lenient(service):
    """A client with the settings that people have."""
    with anthropic.Anthropic(base_url=service.base_url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def tools(parameters):
    """The tool ``weather`` as Anthropic's API writes it."""
    return [{"name": "weather", "description": "Weather of a city.", "input_schema": parameters}]


def test_list(client, models):
    """The models can be listed, page after page until the end, by the names that a request takes."""
    assert {model.id for model in client.models.list()} == set(models)


def test_list_has_the_fields_of_anthropic(client):
    """Every entry of the list has what Anthropic's has."""
    assert {model.type for model in client.models.list()} == {"model"}


def test_chat(client, messages, sentence):
    """A message comes from the named model."""
    for name in ("alpha", "beta"):
        message = client.messages.create(model=name, max_tokens=100, messages=messages)
        assert [block.text for block in message.content] == [sentence[name]]
        assert message.stop_reason == "end_turn"
        assert message.model == name


def test_stream(client, messages, sentence):
    """A stream is read piece by piece and put together to a whole message."""
    with client.messages.stream(model="alpha", max_tokens=100, messages=messages) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(pieces) == sentence["alpha"] == message.content[0].text
    assert len(pieces) >= len(sentence["alpha"].split())
    assert message.stop_reason == "end_turn"


def test_tool(client, messages, tools):
    """A call of a tool comes as a block with its arguments."""
    message = client.messages.create(model="caller", max_tokens=100, messages=messages, tools=tools)
    assert message.stop_reason == "tool_use"
    assert [(block.name, block.input) for block in message.content] == [("weather", {"city": "Paris"})]


def test_tool_in_a_stream(lenient, messages, tools):
    """A streamed call of a tool is put together; llama.cpp begins it without the ``input`` of the schema."""
    with lenient.messages.stream(model="caller", max_tokens=100, messages=messages, tools=tools) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        (block,) = stream.get_final_message().content
    assert (block.name, block.input) == ("weather", {"city": "Paris"})
    assert "".join(pieces) == '{"city": "Paris"}'


def test_result_of_a_tool_is_taken(client, messages, tools, sentence):
    """The conversation goes on with the result of a call."""
    call = {"type": "tool_use", "id": "one", "name": "weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "one", "content": "rain"}
    history = [*messages, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    message = client.messages.create(model="alpha", max_tokens=100, messages=history, tools=tools)
    assert message.content[0].text == sentence["alpha"]


def test_usage(client, messages, last_request):
    """The usage counts prompt and answer, is the same in a stream, and is what the service's activity says."""
    whole = client.messages.create(model="beta", max_tokens=3, messages=messages)
    with client.messages.stream(model="beta", max_tokens=3, messages=messages) as stream:
        streamed = stream.get_final_message()
    assert (whole.stop_reason, whole.usage.output_tokens) == ("max_tokens", 3)
    assert streamed.usage.output_tokens == 3
    prompt = client.messages.count_tokens(model="beta", messages=messages).input_tokens
    assert {_prompt(whole.usage), _prompt(streamed.usage)} == {prompt}
    client.messages.create(model="beta", max_tokens=5, messages=messages)
    assert last_request("beta")["tokens"]["output_tokens"] == 5


def _prompt(usage):
    return usage.input_tokens + usage.cache_read_input_tokens


def test_unknown_model_is_an_error_that_names_it(client, messages):
    """A wrong name is a 404 that says which name is right."""
    with pytest.raises(anthropic.NotFoundError, match=r"alfa.*alpha"):
        client.messages.create(model="alfa", max_tokens=100, messages=messages)


def test_error_of_the_upstream_passes(client, too_long):
    """What llama.cpp itself refuses reaches the client as its error, streamed or not."""
    with pytest.raises(anthropic.BadRequestError, match="context size"):
        client.messages.create(model="alpha", max_tokens=100, messages=too_long)
    with (
        pytest.raises(anthropic.BadRequestError, match="context size"),
        client.messages.stream(model="alpha", max_tokens=100, messages=too_long) as stream,
    ):
        stream.get_final_message()


def test_failed_start_is_an_error_of_the_server(client, messages):
    """A model that cannot start is an error that says which, for a stream too."""
    with pytest.raises(anthropic.InternalServerError, match="broken"):
        client.messages.create(model="broken", max_tokens=100, messages=messages, stream=True)


def test_cancelled_stream_ends_the_work(client, messages, sentence, last_request):
    """A client that leaves a stream ends it: the next model is served, and the activity says that the client left."""
    with client.messages.stream(model="endless", max_tokens=32000, messages=messages) as stream:
        next(iter(stream.text_stream))
    message = client.messages.create(model="beta", max_tokens=100, messages=messages)
    assert message.content[0].text == sentence["beta"]
    assert last_request("endless")["outcome"] == "client_gone"


def test_death_of_the_upstream_is_no_end(client, messages, service):
    """A stream whose upstream dies raises; what has come before is not taken for a whole message."""
    _read_a_stream_that_dies(client, messages, service, Exception)


def test_death_of_the_upstream_is_an_error_with_a_reason(client, messages, service):
    """A stream whose upstream dies raises the client's own exception and says why."""
    _read_a_stream_that_dies(client, messages, service, anthropic.APIError)


def _read_a_stream_that_dies(client, messages, service, error):
    """Kill the upstream after the first piece, then read on until the client raises."""
    with client.messages.stream(model="endless", max_tokens=32000, messages=messages) as stream:
        pieces = iter(stream.text_stream)
        next(pieces)
        os.kill(service.upstream("alpha").pid, signal.SIGKILL)
        with pytest.raises(error, match=r"upstream|incomplete"):
            list(pieces)
    service.wait_gone("endless")
