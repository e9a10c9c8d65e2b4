"""API keys with names and priorities, through the real command."""

from concurrent.futures import ThreadPoolExecutor

LOW, HIGH = ({"Authorization": f"Bearer sk-{name}"} for name in ("low", "high"))
KEYS = [{"key": "sk-low", "name": "low"}, {"key": "sk-high", "name": "high", "priority": 5}]


def waiting(service):
    """The models for which requests wait, the next to be served first."""
    return [row["model"] for row in service.http.get("/api/status", headers=LOW).json()["queue"]]


def test_request_with_an_urgent_key_goes_first(service):
    """The priority of the key is added to the model's: who came later is served first, and nobody is turned away."""
    service.write({"models": {name: service.model() for name in "abc"}, "apiKeys": KEYS})
    service.start()
    with ThreadPoolExecutor(2) as pool:
        with service.http.stream(
            "POST",
            "/v1/chat/completions",
            json={"model": "a", "stream": True, "messages": []},
            headers={**LOW, "X-Fake": '{"chunks": 4000, "chunk_delay": 0.05}'},
        ) as stream:
            lines = stream.iter_lines()
            next(lines)
            asking = [pool.submit(service.chat, "b", headers=LOW)]
            service.wait_until(lambda: waiting(service) == ["b"])
            asking.append(pool.submit(service.chat, "c", headers=HIGH))
            service.wait_until(lambda: waiting(service) == ["c", "b"])
        assert [answer.result().status_code for answer in asking] == [200, 200]
    assert [row["name"] for row in service.journal("start")] == ["a", "c", "b"]
