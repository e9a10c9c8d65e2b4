"""A scriptable inference server for the integration tests: a real process with a real socket and real bad habits.

Only the standard library, and little of it, so that it starts in about 40 ms. The *process* is scripted by flags
(``--help``); one *request* is scripted by the header ``X-Fake``, a JSON object with any of these keys:

    delay        seconds before the response head; the client leaving meanwhile is noticed
    status       response status (200)
    headers      extra response headers (object)
    body         literal response body (string), with content_type (application/json)
    size         answer with this many bytes, sent in pieces of 64 KiB
    chunks       number of SSE content events of a streamed chat (4)
    chunk_delay  seconds between two of them
    read_delay   seconds between two reads of 64 KiB of the request body
    unread       answer without reading the body, then close
    die          the process ends: "before-headers", or after this many chunks (number)
    cut          the same, but only the connection is closed
    log          a line printed before answering

``POST .../chat/completions`` and ``.../completions`` answer like OpenAI's, streamed when the body says so;
``.../embeddings`` gives one vector per input. Everything else, and every chat answer under ``echo``, describes what
arrived: pid, name, method, raw path, headers as pairs, body length and sha256, and the body where it is short text.

With ``--journal`` each event is one JSON line: start, grandchild, ready, probe, request, ending (a stream is
about to end), response, gone, sigterm, exit, with ``t`` from ``time.monotonic()``, which is one clock for all processes
of a machine. With device memory also vram (what it has now) and out-of-memory.
"""
# ruff: noqa: D102, TID251  (the names say it; a fake of slowness sleeps)

import argparse
import hashlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import fake_card

PIECE = 64 * 1024
REASONS = {200: "OK", 204: "No Content", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Loading"}


# fmt: off
def parse_flags(argv):
    """The flags that script the whole process."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--name", default="fake", help="echoed and journalled")
    p.add_argument("--load-seconds", type=float, default=0.0, help="until then health answers 503")
    p.add_argument("--load-forever", action="store_true", help="never becomes ready")
    p.add_argument("--listen-late", action="store_true", help="bind only when loaded, as uvicorn does")
    p.add_argument("--health-path", default="/health")
    p.add_argument("--lie-on-health", choices=["200", "500", "hang"], help="what health answers while loading")
    p.add_argument("--quiet", action="store_true", help="print nothing when ready")
    p.add_argument("--say", default="", help="text printed at the start; \\n is a line break")
    p.add_argument("--say-every", type=float, default=0.0, help="print a line every so many seconds while loading")
    p.add_argument("--flood-stdout", type=int, default=0, help="bytes written to stdout at full speed; -1: for ever")
    p.add_argument("--crash-at-start", type=int, metavar="CODE", help="exit with this code when loaded")
    p.add_argument("--crash-after-tokens", type=int, metavar="N", help="exit with 9 after N streamed chunks in all")
    p.add_argument("--ignore-sigterm", action="store_true")
    p.add_argument("--stop-seconds", type=float, default=0.0, help="time from SIGTERM to the end")
    p.add_argument("--fork-grandchild", choices=["group", "session", "daemon"], nargs="?", const="group",
                   help="a sleeping process: in our group, in a session of its own, or that and orphaned")
    p.add_argument("--vram", default="0", help="device memory that it takes while it loads, such as 10GiB")
    p.add_argument("--vram-device", type=int, help="of those it sees, the only one it uses; else it splits over all")
    p.add_argument("--vram-grow", default="0", help="device memory that each request takes in addition and keeps")
    p.add_argument("--vram-release", type=float, default=0.0, help="seconds that the driver cleans up after its end")
    p.add_argument("--ram", default="0", help="memory of the machine that it really allocates while it loads")
    p.add_argument("-m", "--model", default="", help="nothing is done with it")
    p.add_argument("--keep-alive-seconds", type=float, default=5.0, help="idle connections are closed after that")
    p.add_argument("--journal", default=os.environ.get("FAKE_JOURNAL", ""), help="file the events are appended to")
    return p.parse_args(argv)
# fmt: on


class Gone(Exception):  # noqa: N818  (an event, not an error)
    """The client left, or the connection is to be cut."""


class Fake:
    """The process: its journal, its load state, its counters."""

    def __init__(self, flags):
        self.flags = flags
        self.loaded = threading.Event()
        self.tokens = 0
        self.ram = b""

    def journal(self, event, **more):
        if self.flags.journal:
            line = json.dumps(
                {"event": event, "name": self.flags.name, "pid": os.getpid(), "t": time.monotonic(), **more}
            )
            with Path(self.flags.journal).open("a", encoding="utf-8") as f:  # one short write: whole lines
                f.write(line + "\n")

    def exit(self, code):
        self.journal("exit", code=code)
        os._exit(code)

    def on_sigterm(self, *_):
        self.journal("sigterm")
        if not self.flags.ignore_sigterm:
            time.sleep(self.flags.stop_seconds)  # requests go on in their threads meanwhile
            self.exit(0)

    def count_token(self):
        self.tokens += 1
        if self.flags.crash_after_tokens is not None and self.tokens >= self.flags.crash_after_tokens:
            say("out of memory", sys.stderr)
            self.exit(9)

    def fork_grandchild(self, kind):
        """A process that does nothing, keeps our pipes open and, like us, may ignore SIGTERM; returns when it runs."""
        there, runs = os.pipe()
        if os.fork():
            os.close(runs)
            os.read(there, 1)
            return
        if kind != "group":
            os.setsid()
        if kind == "daemon" and os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if self.flags.ignore_sigterm else signal.SIG_DFL)
        self.journal("grandchild", kind=kind)
        os.write(runs, b"1")
        while True:
            signal.pause()

    def take_vram(self, total):
        """Take device memory where it may, or end as llama.cpp does when there is not enough."""
        if not total:
            return
        card = fake_card.Card(os.environ["FAKE_CARD"])
        seen = card.visible()
        only = self.flags.vram_device
        try:
            card.take(card.split(total, seen if only is None else [seen[only]]), self.flags.vram_release)
        except fake_card.OutOfMemory as error:
            self.journal("out-of-memory", detail=str(error))
            say(f"ggml_backend_cuda_buffer_type_alloc_buffer: allocating {error}: cudaMalloc failed: out of memory",
                sys.stderr)  # fmt: skip
            self.exit(1)
        self.journal("vram", taken=card.taken_by(os.getpid()), seen=os.environ.get("CUDA_VISIBLE_DEVICES"))

    def load(self):
        """Loading: memory and lines while it takes, then ready or the crash."""
        self.take_vram(fake_card.size(self.flags.vram) // 2)
        self.ram = b"m" * fake_card.size(self.flags.ram)
        end = time.monotonic() + (1e9 if self.flags.load_forever else self.flags.load_seconds)
        step = self.flags.say_every or 1e9
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, step))
            if self.flags.say_every:
                say("loading ...")
        self.take_vram(fake_card.size(self.flags.vram) - fake_card.size(self.flags.vram) // 2)
        if self.flags.crash_at_start is not None:
            say("error: cannot load the model", sys.stderr)
            self.exit(self.flags.crash_at_start)

    def ready(self):
        self.loaded.set()
        self.journal("ready")
        if not self.flags.quiet:
            say("server is listening")

    def health(self, conn):
        loaded = self.loaded.is_set()
        lie = None if loaded else self.flags.lie_on_health
        self.journal("probe", ok=loaded)
        if lie == "hang":
            conn.wait(1e6)
        status = 200 if loaded else int(lie or 503)
        conn.answer(status, {"status": "ok" if status == 200 else "loading"})


def say(text, stream=None):
    """Prints a line at once."""
    print(text, file=stream or sys.stdout, flush=True)


class Connection:
    """One client connection, served in a thread of its own."""

    def __init__(self, fake, sock):
        self.fake = fake
        self.sock = sock
        self.rest = b""
        self.script = {}

    # --- reading -------------------------------------------------------------

    def recv(self):
        data = self.sock.recv(PIECE)
        if not data:
            raise Gone
        return data

    def read_head(self):
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.recv()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ", 2)
        self.headers = [[k, v.strip()] for k, _, v in (line.partition(":") for line in lines)]
        self.by_name = {k.lower(): v for k, v in self.headers}
        self.script = json.loads(self.by_name.get("x-fake", "{}"))

    def pieces(self):
        """The request body, piece by piece, Content-Length or chunked."""
        if self.by_name.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in self.by_name.get("transfer-encoding", "").lower():
            while size := int(self.line().split(b";")[0], 16):
                yield from self.exactly(size)
                self.line()
            while self.line():
                pass  # trailers
        else:
            yield from self.exactly(int(self.by_name.get("content-length", 0)))

    def line(self):
        while b"\r\n" not in self.rest:
            self.rest += self.recv()
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line

    def exactly(self, size):
        while size:
            if not self.rest:
                time.sleep(self.script.get("read_delay", 0))
                self.rest = self.recv()
            piece, self.rest = self.rest[:size], self.rest[size:]
            size -= len(piece)
            yield piece

    def read_body(self):
        """Reads the body; only its first megabyte is kept, for the echo and the chat."""
        digest, length, kept = hashlib.sha256(), 0, b""
        for piece in () if self.script.get("unread") else self.pieces():
            digest.update(piece)
            length += len(piece)
            kept += piece if len(kept) < 1 << 20 else b""
        return digest.hexdigest(), length, kept

    # --- writing -------------------------------------------------------------

    def wait(self, seconds):
        """Sleeps, but notices when the client leaves."""
        readable, _, _ = select.select([self.sock], [], [], seconds)
        if readable and not self.sock.recv(1, socket.MSG_PEEK):
            raise Gone

    def head(self, status, headers):
        headers = {"Server": "fake", **headers, **self.script.get("headers", {})}
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        self.sock.sendall(f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n{lines}\r\n".encode("latin-1"))

    def answer(self, status, value, content_type="application/json"):
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.head(status, {"Content-Type": content_type, "Content-Length": len(body)})
        self.sock.sendall(b"" if self.method == "HEAD" else body)

    def chunk(self, data):
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def end_here(self, position):
        """``die`` and ``cut``: the end of the process or of the connection at this point of the answer."""
        if self.script.get("die") == position:
            self.fake.exit(9)
        if self.script.get("cut") == position:
            raise Gone

    # --- one request ---------------------------------------------------------

    def serve(self):
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                self.sock.settimeout(self.fake.flags.keep_alive_seconds)
                self.read_head()
                self.sock.settimeout(None)
                self.request()
                if self.script.get("unread") or self.by_name.get("connection", "").lower() == "close":
                    return
        except (Gone, OSError):
            pass
        finally:
            self.sock.close()

    def request(self):
        if self.path.split("?")[0] == self.fake.flags.health_path:
            self.fake.health(self)
            return
        try:
            digest, length, body = self.read_body()
            self.fake.journal("request", method=self.method, path=self.path)
            self.fake.take_vram(fake_card.size(self.fake.flags.vram_grow))
            if "log" in self.script:
                say(self.script["log"])
            self.end_here("before-headers")
            self.wait(self.script.get("delay", 0)) if "delay" in self.script else None
            self.respond(body, self.echo(digest, length, body))
        except (Gone, OSError):
            self.fake.journal("gone", path=self.path)
            raise
        self.fake.journal("response", path=self.path)

    def echo(self, digest, length, body):
        try:
            text = body.decode() if length == len(body) and length < PIECE else None
        except UnicodeDecodeError:
            text = None
        return {
            "pid": os.getpid(), "name": self.fake.flags.name, "method": self.method, "path": self.path,
            "headers": self.headers, "body_bytes": length, "body_sha256": digest, "body": text,
        }  # fmt: skip

    def respond(self, body, echo):
        script, path = self.script, self.path.split("?")[0]
        status = script.get("status", 200)
        if "size" in script:
            self.big(script["size"])
        elif "body" in script:
            self.answer(status, script["body"], script.get("content_type", "application/json"))
        elif status != 200:
            self.answer(status, {"error": {"message": "as the script says", "code": status}})
        elif path.endswith("/embeddings"):
            texts = json.loads(body).get("input", "")
            rows = [{"object": "embedding", "index": i, "embedding": [0.5, -0.5]}
                    for i in range(len(texts) if isinstance(texts, list) else 1)]  # fmt: skip
            self.answer(200, {"object": "list", "data": rows, "model": self.fake.flags.name, "echo": echo})
        elif path.endswith("/completions"):
            self.chat(json.loads(body or b"{}"), echo)
        else:
            self.answer(200, {"echo": echo})

    def big(self, size):
        self.head(200, {"Content-Type": "application/octet-stream", "Content-Length": size})
        for start in range(0, size, PIECE):
            self.end_here(start // PIECE)
            self.sock.sendall(b"x" * min(PIECE, size - start))

    def chat(self, body, echo):
        base = {"id": "chatcmpl-fake", "created": int(time.time()), "model": body.get("model", "")}
        count = self.script.get("chunks", 4)
        usage = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(f"t{i} " for i in range(count))}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer(200, {**base, "object": "chat.completion", "choices": [choice], "usage": usage, "echo": echo})
            return
        base["object"] = "chat.completion.chunk"
        self.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        for i in range(count):
            self.end_here(i)
            self.wait(self.script.get("chunk_delay", 0) if i else 0)
            delta = {"role": "assistant", "content": f"t{i} "}
            self.event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            self.fake.count_token()
        self.event(
            {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage, "echo": echo}
        )
        self.chunk(b"data: [DONE]\n\n")
        self.fake.journal("ending", path=self.path)  # what follows from the end of the answer is later than this
        self.sock.sendall(b"0\r\n\r\n")

    def event(self, value):
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")


def listen(fake):
    """Binds and serves every connection in a thread."""
    family = socket.AF_INET6 if ":" in fake.flags.host else socket.AF_INET
    server = socket.create_server((fake.flags.host, fake.flags.port), family=family, backlog=512)

    def accept():
        while True:
            sock, _ = server.accept()
            threading.Thread(target=Connection(fake, sock).serve, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def flood(total):
    """Fills stdout with lines of 80 bytes; ``total`` below zero never ends."""
    block = (b"f" * 79 + b"\n") * 800
    while total:
        written = os.write(1, block if total < 0 else block[:total])
        total -= written if total > 0 else 0


def main():
    """Starts as the flags say; the main thread only waits for signals."""
    fake = Fake(parse_flags(sys.argv[1:]))
    flags = fake.flags
    signal.signal(signal.SIGTERM, fake.on_sigterm)
    fake.journal("start")
    if flags.say:
        say(flags.say.replace("\\n", "\n"))
    if flags.fork_grandchild:
        fake.fork_grandchild(flags.fork_grandchild)
    if not flags.listen_late:
        listen(fake)
    if flags.flood_stdout:
        threading.Thread(target=flood, args=(flags.flood_stdout,), daemon=True).start()
    fake.load()
    if flags.listen_late:
        listen(fake)
    fake.ready()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
