"""The openai package as a real client of the service."""

import contextlib
import time

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
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", http_client=http_client) as client:
        yield client


def messages():
    """A conversation of one message."""
    return [{"role": "user", "content": "Who are you?"}]


def test_list(client):
    """The models can be listed."""
    assert {model.id for model in client.models.list()} == {"alpha", "beta", "embed"}


def test_chat(client, sentence):
    """A chat completion comes from the named model."""
    for name in ("alpha", "beta"):
        completion = client.chat.completions.create(model=name, messages=messages())
        assert completion.choices[0].message.content == sentence[name]


def test_stream(client, sentence):
    """A stream is read event by event and ends by itself."""
    with client.chat.completions.create(model="alpha", messages=messages(), stream=True) as stream:
        parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(parts) == sentence["alpha"]
    assert len(parts) > len(sentence["alpha"].split())


def test_usage_of_a_stream(client, sentence):
    """The usage that a client asks for comes as the last event of the stream."""
    options = {"include_usage": True}
    with client.chat.completions.create(
        model="alpha", messages=messages(), stream=True, stream_options=options
    ) as stream:
        *_, last = stream
    assert last.usage.completion_tokens > len(sentence["alpha"].split())


def test_completion(client, sentence):
    """A text completion stops at its limit of tokens."""
    completion = client.completions.create(model="beta", prompt="x", max_tokens=3)
    assert completion.usage.completion_tokens == 3
    assert sentence["beta"].startswith(completion.choices[0].text.strip())


def test_embeddings(client):
    """Embeddings come as numbers, in the encoding that the client asks for by itself."""
    one, other = client.embeddings.create(model="embed", input=["one text", "another text"]).data
    assert len(one.embedding) == len(other.embedding) == 128
    assert one.embedding != other.embedding


def test_unknown_model_is_an_error_that_names_it(client, sent):
    """A wrong name is a 404 with the name in the message, and is not tried again."""
    with pytest.raises(openai.NotFoundError, match="alfa") as caught:
        client.chat.completions.create(model="alfa", messages=messages())
    assert caught.value.code
    assert len(sent) == 1


def test_failed_start_is_not_tried_again_in_vain(serve, model, sent):
    """A model that cannot start is an error of the server at once; the client does not repeat it."""
    service = serve({"broken": {**model("alpha"), "cmd": "false ${PORT}"}})
    hooks = {"request": [lambda request: sent.append(request.url.path)]}
    http_client = openai.DefaultHttpxClient(event_hooks=hooks)
    with (
        openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", http_client=http_client) as client,
        pytest.raises(openai.InternalServerError, match="broken"),
    ):
        client.chat.completions.create(model="broken", messages=messages())
    assert len(sent) == 1


def test_error_of_the_upstream_passes(client):
    """What llama.cpp itself refuses reaches the client as its error."""
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="alpha", messages=[{"role": "user", "content": "x" * 40000}])


def test_cancelled_stream_frees_the_upstream(client, service):
    """A client that closes a stream ends the work on it: a swap to another model does not wait for the rest."""
    stream = client.chat.completions.create(
        model="alpha", messages=messages(), stream=True, max_tokens=32000, extra_body={"ignore_eos": True}
    )
    with contextlib.closing(stream):
        next(iter(stream))
    begin = time.monotonic()
    client.chat.completions.create(model="beta", messages=messages())
    assert time.monotonic() - begin < 5
