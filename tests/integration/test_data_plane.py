"""The data plane as a process of its own: what it holds in memory, and a real OpenAI client on a stream that dies."""

import asyncio
import sys
from pathlib import Path

import openai
import pytest

# The whole service around forward is left out on purpose: what is measured here is the data plane alone.
SERVER = """
import asyncio, socket, sys
from aiohttp import web
from llama_swap.proxy import front
from llama_swap.proxy.body import read_body
from llama_swap.proxy.forward import Exchange, Outgoing, forward
from llama_swap.proxy.upstream import Upstream

async def main():
    upstream = Upstream(f"http://127.0.0.1:{sys.argv[1]}")
    async def handle(request):
        body = await read_body(request, limit_bytes=0) if request.body_exists else None
        outgoing = Outgoing(request.method, request.raw_path, request.raw_headers, body, "m")
        return await forward(request, upstream, outgoing, Exchange())
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = front.make_runner(app)
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", 0))
    server = await front.listen(runner, sock)
    print(sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()

if sys.argv[2] == "uvloop":
    front.run(main)
else:
    front.tune_malloc()
    asyncio.run(main())
"""
MIB = 1024 * 1024
BLOCK = bytes(MIB)
LOOPS = ["asyncio", "uvloop"]


def memory_bytes(pid, field):
    """A figure of /proc/PID/status: VmRSS now, VmHWM at its highest."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


@pytest.fixture(params=LOOPS)
async def plane(request):
    """A data plane in a process of its own: its pid, its port and the script of its upstream."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")

    class Plane:
        script = None

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            await Plane.script(head, reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream_port = server.sockets[0].getsockname()[1]
    arguments = ["-c", SERVER, str(upstream_port), request.param]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        Plane.pid = process.pid
        Plane.port = int(await process.stdout.readline())
        yield Plane
    finally:
        process.kill()
        await process.wait()
        server.close()


async def small_request(plane):
    """Warm the process up, so that imports and pools are not counted."""

    async def script(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()

    plane.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    assert (await reader.read()).endswith(b"hi")
    writer.close()


@pytest.mark.parametrize("framing", [b"Content-Length: 419430400\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_stalled_reader_costs_no_memory(plane, framing):
    """A client that stops reading an answer of 400 MiB leaves the answer with the upstream."""
    stalled = asyncio.Event()

    async def script(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        block = b"100000\r\n" + BLOCK + b"\r\n" if b"chunked" in framing else BLOCK
        for _ in range(400):
            writer.write(block)
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                stalled.set()
                return

    async with asyncio.timeout(30):
        await small_request(plane)
        before = memory_bytes(plane.pid, "VmRSS")
        plane.script = script
        _, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        writer.transport.pause_reading()
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await stalled.wait()
        assert memory_bytes(plane.pid, "VmRSS") - before <= 2 * MIB
        writer.transport.abort()


async def test_large_body_is_held_once(plane):
    """A body of 100 MiB passes, and no second copy of it is made on the way."""
    size = 100 * MIB

    async def script(_head, reader, writer):
        received = 0
        while received < size:
            received += len(await reader.read(MIB))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async with asyncio.timeout(60):
        await small_request(plane)
        before = memory_bytes(plane.pid, "VmRSS")
        plane.script = script
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(100):
            writer.write(BLOCK)
            await writer.drain()
        assert (await reader.read()).endswith(b"ok")
        # Once, and what the allocator keeps from the way there (it may keep 64 MiB); a second copy would be 200 MiB.
        assert memory_bytes(plane.pid, "VmHWM") - before <= size + 64 * MIB
        writer.close()


async def test_openai_client_raises_on_a_stream_that_dies(plane):
    """openai-python gets the chunks that came, then an APIError that names the model."""
    event = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'

    async def script(_head, _reader, writer):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()

    plane.script = script
    url = f"http://127.0.0.1:{plane.port}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
        stream = await client.chat.completions.create(model="m", messages=[], stream=True)
        received = []
        with pytest.raises(openai.APIError, match="model 'm'"):
            received.extend([chunk async for chunk in stream])
