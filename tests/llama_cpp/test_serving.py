"""Two real models and one for embeddings behind one endpoint: swapped by name, streamed, embedded."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest


def test_models_swap_by_the_name_in_the_request(service, sentence):
    """Each name is answered by its own model, and the one that is no longer asked for is gone."""
    assert service.chat("alpha").content() == sentence["alpha"]
    before = service.upstream("alpha")
    assert service.chat("beta").content() == sentence["beta"]
    assert service.running() == {"beta": "ready"}
    assert before.wait_exit(0)
    assert service.chat("alpha").content() == sentence["alpha"]
    assert service.upstream("alpha").pid != before.pid


def test_alias_is_served_by_the_same_process(service, sentence):
    """An alias is another name of the model, not another model."""
    service.chat("alpha")
    before = service.upstream("alpha").pid
    assert service.chat("first").content() == sentence["alpha"]
    assert service.upstream("alpha").pid == before


def test_list_names_all_models(service):
    """/v1/models has one entry per configured model."""
    assert {entry["id"] for entry in service.call("GET", "/v1/models").json()["data"]} == {"alpha", "beta", "embed"}


def test_stream_has_one_event_per_word_and_ends_by_the_mark(service, sentence):
    """A streamed answer is the same text in many events, closed by [DONE]."""
    answer = service.chat("alpha", stream=True)
    assert answer.content() == sentence["alpha"]
    assert len(answer.events()) > len(sentence["alpha"].split())
    assert answer.text.endswith("data: [DONE]\n\n")


def test_parallel_streams_share_one_process(service, sentence):
    """Several streams of one model run at once and each is whole."""
    service.chat("beta")
    before = service.upstream("beta").pid
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: service.chat("beta", stream=True).content(), range(6)))
    assert answers == [sentence["beta"]] * 6
    assert service.upstream("beta").pid == before


def test_cold_requests_for_both_models_are_all_answered(service, sentence):
    """Requests for two models that exclude each other, all at once, are served by few swaps."""
    service.call("POST", "/api/models/unload")
    names = ["alpha", "beta"] * 4
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: service.chat(name).content(), names))
    assert answers == [sentence[name] for name in names]


def test_swap_waits_for_a_stream(service, sentence):
    """A request for another model waits for the stream that runs, which is not cut."""
    stream = service.endless("alpha", tokens=1500)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.chat, "beta")
        whole = stream.read()
        assert waiting.result(20).content() == sentence["beta"]
    assert whole.text.endswith("data: [DONE]\n\n")
    assert whole.events()[-1]["choices"][0]["finish_reason"] == "length"


def test_embeddings_tell_texts_apart(service):
    """The embeddings of the model that only embeds pass through."""
    body = {"model": "embed", "input": ["one text", "one text", "another text"]}
    one, same, other = (item["embedding"] for item in service.call("POST", "/v1/embeddings", body).json()["data"])
    assert one == pytest.approx(same, abs=1e-3)
    assert one != pytest.approx(other, abs=1e-3)


def test_upstream_path_reaches_the_server_itself(service):
    """/upstream/MODEL/... is the model's own HTTP server: here llama.cpp's tokenizer."""
    answer = service.call("POST", "/upstream/alpha/tokenize", {"content": "ab"})
    assert len(answer.json()["tokens"]) == 2


def test_unload_leaves_no_process(service):
    """After unloading, the model's process is gone before the answer comes."""
    service.chat("alpha")
    before = service.upstream("alpha")
    assert service.call("POST", "/api/models/unload").status == 200
    assert before.wait_exit(0)
    assert service.running() == {}
    assert not [argv for argv in service.process.descendants().values() if any(word.endswith(".gguf") for word in argv)]


def test_leaving_client_ends_the_work_of_the_upstream(service, sentence):
    """A client that leaves frees its slot of the upstream at once: all four are free again for four streams."""
    streams = [service.endless("alpha") for _ in range(4)]
    for stream in streams:
        stream.leave()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: service.chat("alpha").content(), range(4)))
    assert answers == [sentence["alpha"]] * 4
    slots = service.call("GET", "/upstream/alpha/slots").json()
    assert [slot["is_processing"] for slot in slots] == [False] * len(slots)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_streams(service, sentence):
    """The command that people try first prints the events of a stream."""
    body = '{"model": "beta", "stream": true, "messages": [{"role": "user", "content": "Who are you?"}]}'
    argv = ["curl", "--silent", "--no-buffer", "--fail", f"{service.base_url}/v1/chat/completions"]
    done = subprocess.run(
        [*argv, "-H", "Content-Type: application/json", "-d", body], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > len(sentence["beta"].split())
