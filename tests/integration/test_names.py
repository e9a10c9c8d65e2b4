"""Profiles, selectors and peers through the real command, and what explain says of them."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from llama_swap.cli import main


@pytest.fixture
def peer(service, free_port):
    """Another server with a model, and its port."""
    port = free_port()
    fake = __file__.replace("test_names.py", "fake_server.py")
    process = subprocess.Popen([sys.executable, "-S", fake, "--port", str(port), "--name", "peer"])
    service.wait_until(lambda: _listens(port))
    yield port
    process.kill()
    process.wait()


def _listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
        return True
    return False


def headers(echo):
    """Header names in lower case -> values of what arrived."""
    return {name.lower(): value for name, value in echo["headers"]}


def test_our_key_never_reaches_a_peer(service, peer):
    """With keys configured here and none for the peer, the caller's key stays here; so do address and cookies."""
    service.write(
        {"apiKeys": ["sk-ours"], "models": {}, "peers": {"far": {"proxy": f"http://127.0.0.1:{peer}", "models": ["x"]}}}
    )
    service.start()
    mine = {"Authorization": "Bearer sk-ours", "Cookie": "a=b", "X-Forwarded-For": "10.0.0.1"}
    arrived = headers(service.echo("far/x", headers=mine))
    assert not {"authorization", "x-api-key", "cookie", "x-forwarded-for"} & set(arrived)
    assert arrived["host"] == f"127.0.0.1:{peer}"


def test_peer_filters_and_names(service, peer):
    """Filters of the peer apply, its own name of the model goes to it."""
    far = {
        "proxy": f"http://127.0.0.1:{peer}",
        "models": ["x"],
        "filters": {"setParams": {"t": 1}, "stripParams": "top_p"},
    }
    service.write({"models": {}, "peers": {"far": far}})
    service.start()
    body = json.loads(service.echo("far/x", top_p=1)["body"])
    assert (body["model"], body["t"], "top_p" in body) == ("x", 1, False)


def test_dead_peer_fails_fast_the_second_time(service, free_port):
    """The first failure is remembered; the error says when the next try is."""
    service.write({"models": {}, "peers": {"far": {"proxy": f"http://127.0.0.1:{free_port()}", "models": ["x"]}}})
    service.start()
    assert service.chat("far/x").status_code == 502
    second = service.chat("far/x")
    assert second.status_code == 502
    assert "next try" in second.json()["error"]["message"]
    assert second.headers["Retry-After"]


def test_idle_peer_is_woken_in_its_turn(service, peer):
    """A peer that does nothing for us counts as cold, so the order of the targets decides."""
    far = {"proxy": f"http://127.0.0.1:{peer}", "models": ["x"]}
    spill = {"strategy": "spillover", "targets": ["a", "far/x"], "settings": {"spillover": 4}}
    service.write({"models": {"a": service.model()}, "peers": {"far": far}, "selectors": {"any": spill}})
    service.start()
    assert {service.echo("any")["name"] for _ in range(4)} == {"a"}


def test_spillover_passes_by_a_peer_that_does_not_answer(service, free_port):
    """The first request finds out; while the peer pauses, the others go to the target that is left."""
    far = {"proxy": f"http://127.0.0.1:{free_port()}", "models": ["x"]}
    spill = {"strategy": "spillover", "targets": ["far/x", "a"]}
    service.write({"models": {"a": service.model()}, "peers": {"far": far}, "selectors": {"any": spill}})
    service.start()
    assert service.chat("any").status_code == 502
    assert service.echo("any")["name"] == "a"


def test_slow_peer_is_not_taken_for_a_dead_one(service, peer):
    """An answer that takes too long fails alone; the next request is tried at once."""
    far = {"proxy": f"http://127.0.0.1:{peer}", "models": ["x"], "timeouts": {"responseHeader": 1}}
    service.write({"models": {}, "peers": {"far": far}})
    service.start()
    assert service.chat("far/x", fake={"delay": 3}).status_code == 504
    assert service.echo("far/x")["name"] == "peer"


def test_no_profile_by_an_empty_name(service):
    """As null does, "" leaves none active."""
    service.write({"models": {"a": service.model()}, "profiles": {"p": {"pins": {"x": "a"}}}})
    service.start()
    assert service.http.put("/api/profiles/active", json={"name": "p"}).json() == {"active": "p"}
    answer = service.http.put("/api/profiles/active", json={"name": ""})
    assert (answer.status_code, answer.json()) == (200, {"active": None})


def listed(service, **headers):
    """{id: entry} of the list of models."""
    return {row["id"]: row for row in service.http.get("/v1/models", headers=headers).json()["data"]}


def test_selectors_and_pins_in_the_list(service, peer):
    """A selector is loaded when what it would choose is; a pin is an entry only where the name is not one already."""
    service.write(
        {
            "models": {"a": service.model(), "b": service.model()},
            "peers": {"far": {"proxy": f"http://127.0.0.1:{peer}", "models": ["x"]}},
            "selectors": {
                "pin": {"strategy": "pin", "targets": ["b", "a"]},
                "warm": {"strategy": "warm", "targets": ["b", "a"]},
            },
            "profiles": {"p": {"pins": {"x": "a", "new": "a", "warm": "a", "off": None}}},
        }
    )
    service.start()
    assert service.http.put("/api/profiles/active", json={"name": "p"}).status_code == 200
    service.echo("a")
    rows = listed(service)
    assert list(rows) == ["a", "b", "far/x", "new", "pin", "warm"]
    assert {name for name, row in rows.items() if row["status"]["value"] == "loaded"} == {"a", "warm"}
    assert rows["new"]["meta"]["llamaswap"] == {"type": "profile"}


def test_list_for_clients_of_anthropic(service):
    """Who says so in its headers gets the fields that Anthropic's list has; others do not."""
    tools = {"tools": True, "context": 512}
    service.write({"models": {"a": service.model(capabilities=tools, name="A"), "b": service.model()}})
    service.start()
    page = service.http.get("/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, "a", "b")
    row = page["data"][0]
    assert (row["type"], row["display_name"], row["max_input_tokens"]) == ("model", "A", 512)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["created_at"])
    assert "type" not in listed(service)["a"]


def test_requests_to_peers_are_counted_under_their_full_names(service, peer):
    """Also after a reload, and whichever name the client used."""
    config = {"models": {}, "peers": {"far": {"proxy": f"http://127.0.0.1:{peer}", "models": ["x"]}}}
    service.write(config)
    service.start()
    service.echo("x")
    service.write({**config, "logLevel": "debug"})
    service.process.send_signal(signal.SIGHUP)
    service.wait_until(lambda: "configuration reloaded" in service.output())
    service.echo("far/x")
    assert 'llamaswap_requests_total{model="far/x",outcome="ok"} 2' in service.http.get("/metrics").text


LLAMA_SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"default_generation_settings": {"n_ctx": 4096}}')
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_context_length_that_an_upstream_told_is_shown(service, tmp_path):
    """To those who listen to events as soon as it is known, and in the list after the model was unloaded."""
    script = tmp_path / "llama-server"
    script.write_text(LLAMA_SERVER)
    service.write({"models": {"a": {"cmd": f"{sys.executable} -S {script} ${{PORT}}"}}})
    service.start()
    with service.http.stream("GET", "/api/events") as answer:
        lines = answer.iter_lines()
        assert service.http.post("/api/models/load/a").status_code == 200
        assert any("modelStatus" in line and "4096" in line for line in lines)
    assert service.http.post("/api/models/unload/a").status_code == 200
    row = listed(service)["a"]
    assert (row["status"]["value"], row["context_length"], row["meta"]["n_ctx"]) == ("unloaded", 4096, 4096)


def test_pin_to_a_selector_and_what_is_recorded(service):
    """A profile's pin may lead to a selector; the row names the model and the selector."""
    service.write(
        {
            "models": {"a": service.model(), "b": service.model()},
            "selectors": {"any": {"strategy": "warm", "targets": ["b", "a"]}},
            "profiles": {"p": {"pins": {"chat": "any", "off": None}}},
        }
    )
    service.start()
    assert service.http.put("/api/profiles/active", json={"name": "p"}).status_code == 200
    echo = service.echo("chat")
    assert (echo["name"], json.loads(echo["body"])["model"]) == ("b", "b")
    assert service.chat("off").status_code == 404
    row = service.http.get("/api/metrics/activity").json()["data"][0]
    assert (row["model"], row["requested_model"], row["metadata"]["selector"]) == ("b", "chat", "any")


def test_selector_is_no_upstream_path(service):
    """``/upstream`` wants one server, not a choice."""
    service.write({"models": {"a": service.model()}, "selectors": {"any": {"strategy": "pin", "targets": ["a"]}}})
    service.start()
    assert service.http.get("/upstream/any/x").status_code == 404


def test_comfyui_starts_only_by_its_front_page(service):
    """Assets of a page left open must not load the model."""
    service.write({"models": {"comfyui_auto": service.model()}})
    service.start()
    assert service.http.get("/comfyui").headers["Location"] == "/comfyui/"
    assert service.http.get("/comfyui/x").status_code == 409
    assert service.journal("start") == []
    assert service.http.get("/comfyui/").json()["echo"]["path"] == "/"
    assert service.http.get("/comfyui/x%2Fy").json()["echo"]["path"] == "/x%2Fy"


def test_explain_says_it_without_doing_it(service, capsys, monkeypatch):
    """What would be stopped, why and by which rule; nothing happens."""
    service.write({"models": {"a": service.model(), "b": service.model(aliases=["bee"])}})
    service.start()
    service.echo("a")
    answer = service.http.get("/api/explain/bee").json()
    assert (answer["model"], answer["outcome"]) == ("b", "evicts")
    assert [victim["model"] for victim in answer["would_stop"]] == ["a"]
    assert answer["rule"]["kind"] == "group"
    assert service.states() == {"a": "ready"}
    assert service.http.get("/api/explain/zz").status_code == 404
    monkeypatch.setenv("LLAMA_SWAP_URL", f"http://127.0.0.1:{service.port}")
    assert main(["explain", "b"]) == 0
    assert "stops a" in capsys.readouterr().out


def test_cancel_of_a_request_in_flight(service):
    """An operator can end a request; its client gets an error, its upstream loses the connection."""
    service.write({"models": {"a": service.model()}})
    service.start()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.chat, "a", fake={"delay": 20})
        service.wait_until(lambda: service.journal("request"))
        (entry,) = service.http.get("/api/inflight").json()["requests"]
        assert service.http.post(f"/api/inflight/{entry['id']}/cancel").json() == {"msg": "ok"}
        assert answer.result().status_code == 503
    service.wait_until(lambda: service.journal("gone"))
    assert service.http.post("/api/inflight/nothing/cancel").status_code == 404


def test_metrics_tell_what_happened(service):
    """Requests, starts and evictions of models are counted, and the heartbeat is young."""
    service.write({"models": {"a": service.model(), "b": service.model()}})
    service.start()
    service.echo("a")
    service.echo("b")
    text = service.http.get("/metrics").text
    assert 'llamaswap_requests_total{model="a",outcome="ok"} 1' in text
    assert [line for line in text.splitlines() if line.startswith("llamaswap_evictions_total") and 'model="a"' in line]
    assert [line for line in text.splitlines() if line.startswith("llamaswap_scheduler_heartbeat")]
    service.chat("b", fake={"status": 500, "body": "{}"})
    assert 'llamaswap_requests_total{model="b",outcome="upstream_error"} 1' in service.http.get("/metrics").text
