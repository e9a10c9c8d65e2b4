"""CPU time of the data plane beside a plain aiohttp proxy: per small request, and per SSE chunk of 64 paced streams.

Run: ``python bench/proxy/cpu.py``. Both proxies run as processes of their own and take turns; the figures are medians
of their CPU time (``/proc/PID/schedstat``), which is steadier than latency. Ratios below 1 are in the data plane's
favour.
"""

import asyncio
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 3
REQUESTS = 2000
CLIENTS = 32
STREAMS = 64
CHUNKS = 100
BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 850 + b'"}]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n" + b"y" * 1024
EVENT = b'data: {"choices":[{"delta":{"content":"token"}}],"id":"' + b"z" * 130 + b'"}\n\n'
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

COMMON = """
import asyncio, socket, sys
from aiohttp import web, ClientSession, TCPConnector
from llama_swap.proxy import front
from llama_swap.proxy.body import read_body, read_model
from llama_swap.proxy.forward import Exchange, Outgoing, forward
from llama_swap.proxy.upstream import Upstream
url = f"http://127.0.0.1:{sys.argv[1]}"
async def serve(handle):
    app = web.Application(client_max_size=2**30)
    app.router.add_post("/v1/chat/completions", handle)
    runner = front.make_runner(app)
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = await front.listen(runner, sock)
    print(sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()
"""
OURS = (
    COMMON
    + """
async def main():
    upstream = Upstream(url)
    async def handle(request):
        body = await read_body(request, limit_bytes=0)
        name = read_model(body).name
        return await forward(request, upstream,
            Outgoing("POST", request.raw_path, request.raw_headers, body, name), Exchange())
    await serve(handle)
"""
)
PLAIN = (
    COMMON
    + """
async def main():
    session = ClientSession(connector=TCPConnector(limit=0), auto_decompress=False)
    async def handle(request):
        body = await request.read()
        read_model(body)
        async with session.post(url + request.raw_path, data=body, headers={"Content-Type": "application/json"}) as up:
            response = web.StreamResponse(status=up.status, headers={"Content-Type": up.headers["Content-Type"]})
            if up.content_length is not None:
                response.content_length = up.content_length
            await response.prepare(request)
            async for piece in up.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response
    await serve(handle)
"""
)
RUN = {"asyncio": "\nasyncio.run(main())", "uvloop": "\nfront.run(main)"}


async def play_upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests for ever: a JSON body, or a paced stream where the request asks for one."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            if b'"stream"' in body:
                writer.write(SSE)
                for _ in range(CHUNKS):
                    await asyncio.sleep(0.01)
                    writer.write(CHUNK)
                writer.write(b"0\r\n\r\n")
            else:
                writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()  # asyncio would print a task that was cancelled when the loop ends


def request(body: bytes) -> bytes:
    """One request of the load."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def ask(port: int, sent: bytes, end: bytes, times: int) -> None:
    """One client on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(times):
        writer.write(sent)
        await reader.readuntil(end)
    writer.close()


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


async def measure(pid: int, port: int) -> tuple[float, float]:
    """CPU microseconds of a request and of a chunk."""
    start = cpu_seconds(pid)
    await asyncio.gather(*(ask(port, request(BODY), b"y" * 1024, REQUESTS // CLIENTS) for _ in range(CLIENTS)))
    middle = cpu_seconds(pid)
    stream = request(b'{"stream":true,"model":"m"}')
    await asyncio.gather(*(ask(port, stream, b"\r\n0\r\n\r\n", 1) for _ in range(STREAMS)))
    end = cpu_seconds(pid)
    return (middle - start) / REQUESTS * 1e6, (end - middle) / (STREAMS * CHUNKS) * 1e6


async def main() -> None:
    """Run both proxies in turn and print the table."""
    upstream = await asyncio.start_server(play_upstream, "127.0.0.1", 0, backlog=512)
    upstream_port = str(upstream.sockets[0].getsockname()[1])
    figures: dict[str, list[tuple[float, float]]] = {}
    processes = {}
    for name, source in (("plain", PLAIN), ("ours", OURS)):
        for loop, run in RUN.items():
            process = subprocess.Popen([sys.executable, "-c", source + run, upstream_port], stdout=subprocess.PIPE)  # noqa: ASYNC220 - before anything is served
            processes[f"{name} {loop}"] = process, int(process.stdout.readline())
    for round_number in range(ROUNDS + 1):
        for name, (process, port) in processes.items():
            measured = await measure(process.pid, port)
            if round_number:
                figures.setdefault(name, []).append(measured)
    for process, _ in processes.values():
        process.kill()
        process.wait()
    report(figures)
    upstream.close()


def report(figures: dict[str, list[tuple[float, float]]]) -> None:
    """Print medians and ratios."""
    medians = {name: tuple(map(statistics.median, zip(*rows, strict=True))) for name, rows in figures.items()}
    print(f"{'':16}{'us/request':>12}{'ratio':>8}{'us/chunk':>12}{'ratio':>8}")
    for name, (per_request, per_chunk) in medians.items():
        base = medians["plain " + name.split()[1]]
        print(f"{name:16}{per_request:12.1f}{per_request / base[0]:8.2f}{per_chunk:12.1f}{per_chunk / base[1]:8.2f}")


if __name__ == "__main__":
    asyncio.run(main())
