"""A small service that is scripted, which the commands find through LLAMA_SWAP_URL."""

import http.server
import json
import socket
import threading

import pytest


class Script:
    """What the fake service answers to ``METHOD path``, and what it was asked."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.bodies = []
        self.headers = []

    def answer(self, what, body, status=200):
        """Answer a request with text, or with JSON made of anything else."""
        self.answers[what] = (status, body if isinstance(body, bytes) else json.dumps(body).encode())

    def respond(self, handler):
        """Handle one request."""
        what = f"{handler.command} {handler.path}"
        self.asked.append(what)
        self.bodies.append(handler.rfile.read(int(handler.headers.get("Content-Length", 0))))
        self.headers.append(dict(handler.headers))
        status, body = self.answers.get(what, (404, b"404 page not found\n"))
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def service(monkeypatch):
    """A running fake service that the commands find through LLAMA_SWAP_URL."""
    script = Script()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            script.respond(self)

        do_POST = do_DELETE = do_GET  # noqa: N815 - the standard library's names

        def log_message(self, *args):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("LLAMA_SWAP_URL", script.url)
        monkeypatch.delenv("LLAMA_SWAP_API_KEY", raising=False)
        yield script
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody():
    """A URL on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"
