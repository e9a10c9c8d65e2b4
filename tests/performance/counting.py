"""Counts the bytecode instructions that a proxy executes for a small request and for a chunk of a stream.

Run as ``python counting.py service|plain``; prints JSON. Unlike times, these counts are the same on a busy machine.
The proxy has the main thread, the only one that is traced; its upstream and its client are threads with blocking
sockets, in step with it.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
from pathlib import Path

REQUESTS = 40
CHUNKS = 40
WARM = 10
KEY = "key"
BODY = b'{"messages":[{"role":"user","content":"' + b"x" * 800 + b'"}],"model":"m","stream":%s}'
USAGE = b'"usage":{"prompt_tokens":7,"completion_tokens":5},"timings":{"prompt_n":7,"predicted_n":5,"predicted_ms":9.5}'
ANSWER = b'{"choices":[{"message":{"content":"' + b"y" * 700 + b'"}}],%s}' % USAGE
EVENT = b'data: {"choices":[{"delta":{"content":"token"}}],"id":"' + b"z" * 130 + b'"}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CONFIG = """
apiKeys: [%s]
models:
  m: {cmd: sleep 600, proxy: "http://127.0.0.1:%d"}
"""


class Counter:
    """Counts instructions of the thread in which it is switched on."""

    def __init__(self, loop):
        self.count = 0
        self._loop = loop

    def _trace(self, frame, event, _argument):
        if event == "opcode":
            self.count += 1
        else:
            frame.f_trace_opcodes = True
        return self._trace

    def switch(self, *, on):
        """Begin or end to count; called from another thread, returns when it is done."""
        done = threading.Event()

        def now():
            sys.settrace(self._trace if on else None)
            done.set()

        self._loop.call_soon_threadsafe(now)
        done.wait(30)


class Upstream:
    """Answers one connection after the other; sends each chunk of a stream when the client has the one before."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.next_chunk = threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            while request := lines.readline():
                headers = dict(line.lower().rstrip().split(b": ", 1) for line in iter(lines.readline, b"\r\n"))
                body = lines.read(int(headers.get(b"content-length", 0)))
                if not request.startswith(b"POST") or b'"stream":true' not in body:
                    connection.sendall(JSON_HEAD + ANSWER)
                    continue
                connection.sendall(SSE_HEAD)
                for _ in range(WARM + CHUNKS + 1):  # the last one never comes
                    self.next_chunk.acquire()
                    connection.sendall(CHUNK)
                connection.sendall(b"0\r\n\r\n")


class Client:
    """One connection to the proxy."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)

    def ask(self, *, stream=False):
        """Send a request; it is answered when :meth:`read_until` says so."""
        body = BODY % (b"true" if stream else b"false")
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\n"
        head += b"Content-Type: application/json\r\n"
        key = f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.connection.sendall(head + key.encode() + body)

    def read_until(self, end):
        """Read until the bytes end so."""
        data = b""
        while not data.endswith(end):
            piece = self.connection.recv(65536)
            if not piece:
                raise ConnectionError(data)
            data += piece
        if b"HTTP/1.1" in data and b" 200 " not in data.partition(b"\r\n")[0]:
            raise ConnectionError(data)


def count(port, upstream, counter):
    """Instructions for each request, and for each chunk."""
    client = Client(port)
    for number in range(WARM + REQUESTS):
        if number == WARM:
            counter.switch(on=True)
        client.ask()
        client.read_until(USAGE + b"}")
    counter.switch(on=False)
    requests, counter.count = counter.count / REQUESTS, 0
    client.ask(stream=True)
    client.read_until(SSE_HEAD[-4:])
    for number in range(WARM + CHUNKS):
        if number == WARM:
            counter.switch(on=True)
        upstream.next_chunk.release()
        client.read_until(CHUNK)
    counter.switch(on=False)
    client.connection.close()
    return {"request": requests, "chunk": counter.count / CHUNKS}


def measure(port, upstream, stop):
    """Count in a thread of its own, print, and end the proxy."""
    counter = Counter(asyncio.get_running_loop())

    def work():
        try:
            sys.stdout.write(json.dumps(count(port, upstream, counter)) + "\n")
            sys.stdout.flush()
        finally:
            stop()

    threading.Thread(target=work).start()


async def plain(upstream):
    """The usual proxy with aiohttp on both sides, as the measure of what a request costs."""
    from aiohttp import ClientSession, web  # noqa: PLC0415 - the other mode has its own

    session = ClientSession(auto_decompress=False)
    url = f"http://127.0.0.1:{upstream.port}"

    async def handle(request):
        body = await request.read()
        json.loads(body)
        headers = {"Content-Type": request.headers["Content-Type"]}
        async with session.post(url + request.raw_path, data=body, headers=headers) as answer:
            response = web.StreamResponse(headers={"Content-Type": answer.headers["Content-Type"]})
            response.content_length = answer.content_length
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    measure(listener.getsockname()[1], upstream, lambda: loop.call_soon_threadsafe(stopped.set))
    await stopped.wait()
    os._exit(0)  # aiohttp would wait a minute for the handler of the stream


async def service(upstream, folder):
    """The whole service with everything that is on by default: key, activity, metrics, log."""
    from llama_swap.app.options import ServeOptions  # noqa: PLC0415 - the other mode does without
    from llama_swap.app.service import Service  # noqa: PLC0415
    from llama_swap.app.sources import Sources  # noqa: PLC0415

    config = folder / "config.yaml"
    config.write_text(CONFIG % (KEY, upstream.port), encoding="utf-8")
    options = ServeOptions(config=config, config_dir=None, listen="127.0.0.1:0")
    sources = Sources(options)
    listener = socket.create_server(("127.0.0.1", 0))
    running = Service(options, sources, sources.load(), [listener], None)
    loop = asyncio.get_running_loop()
    measure(listener.getsockname()[1], upstream, lambda: loop.call_soon_threadsafe(running._stop.set))
    await running.main()


def main():
    """Run one of them; the figures are the line of stdout that begins with a brace."""
    upstream = Upstream()
    if sys.argv[1] == "plain":
        asyncio.run(plain(upstream))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(service(upstream, Path(folder)))


if __name__ == "__main__":
    main()
