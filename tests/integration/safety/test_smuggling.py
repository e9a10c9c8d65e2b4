"""Request smuggling: whatever the client sends, the upstream gets the requests that the front has understood."""

import importlib.util
import json
import re
import shlex

import pytest
from smuggling_attacks import ATTACKS, CHAT, LAST, ROUTES

from llama_swap.demo.folder import embedded_command
from llama_swap.demo.tiny_gguf import TinyModel, write_tiny_model

HIDDEN_PATH = b"/hidden"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
COMPLETION = b'{"prompt":"Alpha","n_predict":7,"ignore_eos":true}'
HIDDEN_COMPLETION = b"POST /completion HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (
    len(COMPLETION),
    COMPLETION,
)


def launch(wire, attack, route, hidden):
    """Send an attack; the statuses of all answers on its connection."""
    request = attack.request(route, hidden)
    answers = wire.tell(request, hangs_up=True) if attack.waits else wire.tell(request, LAST)
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def seen_by(recorder, attack, statuses):
    """What is wrong with the requests that the upstream got, if anything."""
    if recorder.ambiguous:
        return f"ambiguous: {recorder.ambiguous}"
    if [each for each in recorder.requests if HIDDEN_PATH in each.target.partition(b"?")[0]]:
        return f"smuggled: {recorder.requests}"
    # Each one has its own answer, and a right request is not refused. The client of a WebSocket may be gone before its
    # handshake is here, which may come as late as during the next attack.
    heard = [each for each in recorder.requests if (b"upgrade", b"websocket") not in each.headers]
    if len(heard) > statuses.count(200) or statuses.count(200) < attack.passes:
        return f"{len(recorder.requests)} requests, answers {statuses}"
    return None


@pytest.mark.parametrize("route", ROUTES)
def test_upstream_gets_what_the_front_understood(recorded, recorder, wire, route):
    """In a form that leaves nothing to the reader, as many requests as there are answers, and never the hidden one."""
    wrong = {}
    for name, attack in ATTACKS.items():
        statuses = launch(wire, attack, route, HIDDEN)
        wrong[name] = seen_by(recorder, attack, statuses)
        recorder.requests.clear()
        recorder.ambiguous.clear()
    assert {name: what for name, what in wrong.items() if what} == {}


@pytest.mark.parametrize("route", ROUTES)
def test_in_two_packets(recorded, recorder, wire, route):
    """The same, with the packet cut in the head, behind it and in the body."""
    wrong = {}
    for name, attack in ATTACKS.items():
        request = attack.request(route, HIDDEN)
        for cut in (10, request.find(b"\r\n\r\n") + 2, request.find(b"\r\n\r\n") + 5, len(request) - 3):
            pieces = [request[:cut], request[cut:]]
            answers = wire.tell(*pieces, hangs_up=True) if attack.waits else wire.tell(*pieces, LAST)
            statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
            wrong[name, cut] = seen_by(recorder, attack, statuses)
            recorder.requests.clear()
            recorder.ambiguous.clear()
    assert {name: what for name, what in wrong.items() if what} == {}


def test_recorder_sees_a_second_request(recorder, wire):
    """The test above would notice: both requests on one connection are written down."""
    type(wire)(recorder.port).tell(HIDDEN + HIDDEN, hangs_up=True)
    assert [each.target for each in recorder.requests] == [HIDDEN_PATH] * 2


@pytest.fixture
def llama(service, tmp_path):
    """The service with llama.cpp's own server, whose HTTP library is cpp-httplib, as its model ``m``."""
    if importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs xllamacpp and gguf")
    model = TinyModel("m", "Alpha answers with these few words.", seed=1)
    path = write_tiny_model(tmp_path / "m.gguf", model)
    argv = [*embedded_command(), "--model", str(path), "-c", "2048", "-t", "1", "--metrics", "--host", "127.0.0.1"]
    service.write({"models": {"m": {"cmd": f"{shlex.join(argv)} --port ${{PORT}}"}}})
    service.start()
    assert service.chat("m", max_tokens=1).status_code == 200
    return service


def generated(llama):
    """How many tokens the server has generated so far."""
    text = llama.http.get("/upstream/m/metrics").text
    return int(float(re.search(r"^llamacpp:tokens_predicted_total (\S+)$", text, re.MULTILINE)[1]))


def test_llama_cpp_generates_for_no_hidden_request(llama, wire):
    """Each answer to a right request took its one token; a hidden request would have taken seven."""
    wrong = {}
    for name, attack in ATTACKS.items():
        for route in ROUTES:
            before = generated(llama)
            statuses = launch(wire, attack, route, HIDDEN_COMPLETION)
            # Behind a request that runs this one has to wait for it, so nothing is still on its way.
            assert llama.chat("m", max_tokens=1).status_code == 200
            if generated(llama) - before - 1 > statuses.count(200):
                wrong[name, route] = (statuses, generated(llama) - before)
    assert wrong == {}


def test_llama_cpp_would_serve_a_hidden_request(llama, wire):
    """The test above would notice: sent to its own port behind another request, the hidden one is served."""
    port = next(row["port"] for row in llama.http.get("/api/status").json()["models"])
    before = generated(llama)
    first = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(CHAT), CHAT)
    last = b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answers = type(wire)(port).tell(first + HIDDEN_COMPLETION + last)
    assert answers.count(b"HTTP/1.1 200") == 3
    assert json.loads(COMPLETION)["n_predict"] == 7
    assert generated(llama) - before == 8
