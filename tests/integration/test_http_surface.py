"""What clients may send and what they get: names, bodies, errors, keys, browsers."""

import gzip
import http.client
import json
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture(scope="module")
def running(shared_service):
    """A service with one model under two names."""
    models = {"org/m": shared_service.model(aliases=["al"]), "hidden": shared_service.model(unlisted=True)}
    shared_service.write({"models": models})
    return shared_service.start()


@pytest.fixture
def plain(running):
    """The same with no model loaded."""
    running.http.post("/api/models/unload")
    running.journal_path.unlink(missing_ok=True)
    return running


def post(service, path, body, **headers):
    """POST raw bytes."""
    return service.http.post(path, content=body, headers=headers)


def test_json_is_read_whatever_its_content_type_says(plain):
    """A curl -d without a header sends a form type, some clients none at all."""
    body = json.dumps({"model": "al", "messages": []}).encode()
    for content_type in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        answer = post(plain, "/v1/chat/completions", body, **{"Content-Type": content_type})
        assert answer.status_code == 200, content_type


def test_malformed_json_is_a_400_that_says_where(plain):
    """The client learns that its JSON is broken, not that a model is missing."""
    answer = post(plain, "/v1/chat/completions", b'{"model": "al", }', **{"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]["message"]


def test_unknown_model_names_the_nearest(plain):
    """A typo is answered with the name it is nearest to."""
    answer = plain.chat("org/n")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert "org/m" in answer.json()["error"]["message"]


def test_missing_model_says_where_to_put_it(plain):
    """No name, no model: the error says how to name one."""
    for body in (b"{}", b'{"model": null}', b'{"model": ""}'):
        answer = post(plain, "/v1/completions", body, **{"Content-Type": "application/json"})
        assert answer.status_code == 404
        assert '"model"' in answer.json()["error"]["message"]


def test_gzipped_request_body(plain):
    """A compressed body is read for its model and understood upstream."""
    body = gzip.compress(json.dumps({"model": "al", "messages": []}).encode())
    answer = post(
        plain, "/v1/chat/completions", body, **{"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert answer.status_code == 200
    assert json.loads(answer.json()["echo"]["body"])["model"] == "al"


def test_urlencoded_form(plain):
    """A form names its model in a field."""
    answer = plain.http.post("/v1/audio/transcriptions", data={"model": "al", "language": "de"})
    assert answer.status_code == 200
    assert "language=de" in answer.json()["echo"]["body"]


def test_multipart_with_the_model_after_the_file(plain):
    """The model field may follow the file; everything arrives."""
    audio = bytes(range(256)) * 8000
    files = [("file", ("a.wav", audio)), ("model", (None, "al"))]
    answer = plain.http.post("/v1/audio/transcriptions", files=files)
    assert answer.status_code == 200
    assert answer.json()["echo"]["body_bytes"] > len(audio)


def test_query_routes(plain):
    """GET routes name their model in the query."""
    assert plain.http.get("/props", params={"model": "al"}).json()["echo"]["path"].startswith("/props")
    assert plain.http.get("/props").status_code == 404


def test_errors_have_the_envelope_everywhere(plain):
    """Unknown paths and wrong methods are answered like any other error."""
    for answer, status in (
        (plain.http.get("/v1/nothing"), 404),
        (plain.http.get("/v1/chat/completions"), 405),
        (plain.http.post("/running"), 405),
        (plain.http.get("/v1/models/org/m"), 404),
    ):
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert "POST" in plain.http.get("/v1/chat/completions").headers["Allow"]


def test_doubled_slashes_are_redirected(plain):
    """A sloppy base URL leads to the clean path."""
    connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=10)
    connection.request("GET", "//v1//models?x=1")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (307, "/v1/models?x=1")
    connection.close()


def test_model_list(plain):
    """The list is sorted, complete and leaves out what is unlisted."""
    data = plain.http.get("/v1/models").json()["data"]
    assert [row["id"] for row in data] == ["org/m"]
    assert data[0]["status"] == {"value": "unloaded"}
    assert data[0]["meta"]["llamaswap"]["aliases"] == ["al"]


def test_upstream_paths_keep_their_encoding(plain):
    """What follows the model name arrives as it was sent."""
    connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=10)
    connection.request("GET", "/upstream/org%2Fm/x%2Fy/%C3%A9?q=%2F&w=")
    assert json.loads(connection.getresponse().read())["echo"]["path"] == "/x%2Fy/%C3%A9?q=%2F&w="
    connection.close()


def test_body_limit(service):
    """The key maxBodySize refuses larger bodies, with and without a length, before a model starts."""
    service.write({"maxBodySize": "64KB", "models": {"m": service.model()}})
    service.start()
    big = json.dumps({"model": "m", "x": "y" * 100_000}).encode()
    assert post(service, "/v1/completions", big).status_code == 413
    assert service.http.post("/v1/completions", content=iter([big])).status_code == 413
    assert service.journal("start") == []
    assert service.chat("m").status_code == 200


def test_keys_never_travel_upstream(service):
    """With apiKeys our key stays here; without, Authorization is the upstream's business."""
    service.write({"apiKeys": ["sk-ours"], "models": {"m": service.model()}})
    service.start()
    assert service.chat("m").status_code == 401
    echo = service.echo("m", headers={"Authorization": "Bearer sk-ours", "X-Other": "stays"})
    sent = {name.lower(): value for name, value in echo["headers"]}
    assert "authorization" not in sent
    assert sent["x-other"] == "stays"


def test_authorization_passes_without_keys(plain):
    """Without apiKeys a client may talk to the upstream's own authentication."""
    sent = {
        name.lower(): value for name, value in plain.echo("al", headers={"Authorization": "Bearer theirs"})["headers"]
    }
    assert sent["authorization"] == "Bearer theirs"


def test_pages_of_other_sites_change_nothing(plain):
    """A web page cannot start or stop models, and a rebound name reads nothing."""
    cross = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert plain.http.get("/unload", headers=cross).status_code == 403
    assert plain.http.get("/upstream/org/m/", headers=cross).status_code == 403
    assert plain.chat("al", headers=cross).status_code == 403
    assert plain.http.get("/v1/models", headers=cross).status_code == 200
    rebound = {"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}
    assert plain.http.get("/v1/models", headers=rebound).status_code == 403
    assert plain.journal("start") == []
    own = {"Origin": f"http://localhost:{plain.port}", "Sec-Fetch-Site": "same-site"}
    assert plain.chat("al", headers=own).status_code == 200


def test_queue_limit_names_the_position(service):
    """A full queue refuses with 429, Retry-After and the position."""
    fifo = {"queueLimit": 1}
    service.write(
        {
            "models": {"a": service.model(), "b": service.model()},
            "routing": {"scheduler": {"settings": {"fifo": fifo}}},
        }
    )
    service.start()
    service.echo("a")
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(service.chat, "a", fake={"delay": 1})
        service.wait_until(lambda: len(service.journal("request")) == 2)
        waiting = pool.submit(service.chat, "b")
        service.wait_until(lambda: service.http.get("/api/status").json()["queue"])
        refused = service.chat("b")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"]
        assert "position 2" in refused.json()["error"]["message"]
        assert busy.result().status_code == waiting.result().status_code == 200
