"""What is measured, one function a case. Each gives the figures of one candidate in one round."""

import statistics
import threading
from collections.abc import Callable
from dataclasses import dataclass

from bench.proxy import candidates
from bench.proxy.candidates import LATE_MILLISECONDS, Candidate, Setting
from bench.proxy.load import Client, Figures, Load

_STREAMS = 64
_CHUNKS = 100


@dataclass(frozen=True, slots=True)
class Bench:
    """What a case works with."""

    setting: Setting
    load: Load


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a case.

    Attributes:
        added: of a time also what it is more than without a proxy.
    """

    name: str
    title: str
    digits: int = 1
    added: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the program.

    Attributes:
        only: "" for all candidates, ``proxies`` for those that are a process, ``starters`` for those that start models.
        most_rounds: more would only take time.
    """

    name: str
    title: str
    measure: Callable[[Bench, Candidate], Figures]
    metrics: tuple[Metric, ...]
    only: str = ""
    most_rounds: int = 100

    def concerns(self, candidate: Candidate) -> bool:
        """Whether this candidate can take part."""
        if self.only == "starters":
            return candidate.starts_models
        return self.only != "proxies" or bool(candidate.pids)


CPU = Metric("cpu", "CPU us/request")
CPU_CHUNK = Metric("cpu", "CPU us/chunk")
RATE = Metric("rate", "requests/s", 0)
P50 = Metric("p50", "p50 us", 0, added=True)
P99 = Metric("p99", "p99 us", 0, added=True)


def _metered(candidate: Candidate, figures: Callable[[], Figures], count: str) -> Figures:
    """Figures with the CPU time of the proxy, divided by one of them."""
    before = candidate.cpu_microseconds()
    found = figures()
    if candidate.pids:
        found["cpu"] = (candidate.cpu_microseconds() - before) / found[count]
    return found


def _requests(bench: Bench, candidate: Candidate, **options: int) -> Figures:
    found = _metered(candidate, lambda: bench.load.run(candidate.port, **options), "whole_count")
    found |= {"p50": found["whole_p50"], "p99": found["whole_p99"]}
    found["rate"] = found["whole_count"] / found["seconds"]
    return found


def small_one(bench: Bench, candidate: Candidate) -> Figures:
    """One client."""
    return _requests(bench, candidate, clients=1, total=1500)


def small_many(bench: Bench, candidate: Candidate) -> Figures:
    """32 clients."""
    return _requests(bench, candidate, clients=32, total=6000)


def connections(bench: Bench, candidate: Candidate) -> Figures:
    """A new connection for each request."""
    return _requests(bench, candidate, clients=8, total=1200, new=1)


def body_100k(bench: Bench, candidate: Candidate) -> Figures:
    """A long conversation."""
    return _requests(bench, candidate, total=300, body=100_000)


def body_5m(bench: Bench, candidate: Candidate) -> Figures:
    """A few images."""
    found = _requests(bench, candidate, total=30, body=5_000_000)
    found["resident"] = candidate.resident_megabytes()
    return found


def _stream(bench: Bench, candidate: Candidate, clients: int, answer: str) -> Figures:
    def run() -> Figures:
        return bench.load.run(candidate.port, clients=clients, stream=1, new=1, answer=answer)

    found = _metered(candidate, run, "chunk_count")
    found |= {"p50": found["chunk_p50"], "p99": found["chunk_p99"]}
    return found


def streams_in_step(bench: Bench, candidate: Candidate) -> Figures:
    """All send at the same instants, as the slots of one llama-server do."""
    return _stream(bench, candidate, _STREAMS, f"sse+{_CHUNKS}+10000+step")


def streams_spread(bench: Bench, candidate: Candidate) -> Figures:
    """Each has its own phase."""
    return _stream(bench, candidate, _STREAMS, f"sse+{_CHUNKS}+10000+spread")


def one_stream(bench: Bench, candidate: Candidate) -> Figures:
    """One stream of 333 tokens a second."""
    return _stream(bench, candidate, 1, "sse+300+3000+now")


def first_chunk(bench: Bench, candidate: Candidate) -> Figures:
    """64 streams opened at once, each on a connection of its own; the median of five such bursts."""
    answer = "sse+3+1000+now"
    bursts = [
        bench.load.run(candidate.port, clients=_STREAMS, stream=1, new=1, answer=answer)["first_p50"] for _ in range(5)
    ]
    return {"first": statistics.median(bursts) / 1000}


def open_streams(bench: Bench, candidate: Candidate) -> Figures:
    """500 streams that say nothing for a while."""
    before = candidate.resident_megabytes()
    streams = bench.load.start(candidate.port, clients=500, stream=1, new=1, answer="sse+2+4000000+now")
    _wait(2.0)
    during = candidate.resident_megabytes()
    cpu = candidate.cpu_microseconds()
    _wait(1.0)
    cpu = candidate.cpu_microseconds() - cpu
    bench.load.finish(streams)
    return {"before": before, "during": during, "each": (during - before) * 2, "idle": cpu / 1000}


def stalled_reader(bench: Bench, candidate: Candidate) -> Figures:
    """A client that stops reading in the middle of 400 MB."""
    before = candidate.resident_megabytes()
    stream = bench.load.start(candidate.port, stream=1, answer="flood+400000000", stall_ms=1500)
    _wait(1.2)
    growth = candidate.resident_megabytes() - before
    found = bench.load.finish(stream)
    return {"growth": growth, "carried": found["bytes"] / 1e6}


def start_up(bench: Bench, candidate: Candidate) -> Figures:
    """From the start of the process to the first connection that is accepted."""
    another = Candidate(f"{candidate.name}-started", candidate.command)
    milliseconds = candidates.start(another, bench.setting)
    another.look_again()
    cpu = another.cpu_microseconds() / 1000
    resident = another.resident_megabytes()
    candidates.stop(another)
    return {"start": milliseconds, "cpu": cpu, "resident": resident}


def readiness(_bench: Bench, candidate: Candidate) -> Figures:
    """From the true readiness of a model to its first request."""
    client = Client(candidate.port)
    late = [client.ask(f"late{i}")[1]["late_us"] / 1000 for i in range(len(LATE_MILLISECONDS))]
    client.close()
    return {"late": statistics.median(late), "most": max(late)}


def swap(_bench: Bench, candidate: Candidate) -> Figures:
    """A request to a model that must take the place of another one, where loading takes no time."""
    client = Client(candidate.port)
    took = [client.ask(model)[0] for model in ("a", "b") * 6][1:]
    client.close()
    return {"swap": statistics.median(took), "most": max(took)}


def days_mix(bench: Bench, candidate: Candidate) -> Figures:
    """Streams, small requests, conversations and images side by side: a fixed amount of work."""
    parts = (
        {"clients": 16, "stream": 1, "new": 1, "answer": "sse+120+10000+spread"},
        {"clients": 4, "total": 1200},
        {"clients": 2, "total": 60, "new": 1},
        {"clients": 2, "total": 100, "body": 100_000},
        {"clients": 1, "total": 8, "body": 5_000_000},
    )
    before = candidate.cpu_microseconds()
    running = [bench.load.start(candidate.port, **part) for part in parts]
    streams, small, *_ = [bench.load.finish(process) for process in running]
    cpu = (candidate.cpu_microseconds() - before) / 1000
    return {"cpu": cpu, "p99": small["whole_p99"] / 1000, "chunk": streams["chunk_p99"] / 1000}


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


STREAM = (CPU_CHUNK, Metric("p50", "chunk p50 us", 0, added=True), Metric("p99", "chunk p99 us", 0, added=True))

CASES = (
    Case("small", "935 B in, 1 KB out, 1 client", small_one, (CPU, P50, P99)),
    Case("small32", "935 B in, 1 KB out, 32 clients", small_many, (CPU, RATE, P50, P99)),
    Case("connect", "a new connection for each small request, 8 clients", connections, (CPU, RATE, P50)),
    Case("step", "64 streams, a chunk each per 10 ms, all at the same instants", streams_in_step, STREAM),
    Case("spread", "64 streams, a chunk each per 10 ms, phases spread", streams_spread, STREAM),
    Case("stream", "one stream, a chunk per 3 ms", one_stream, STREAM),
    Case("first", "first chunk when 64 streams open at once", first_chunk, (Metric("first", "p50 ms", 2, added=True),)),
    Case(
        "open",
        "500 open streams that say nothing",
        open_streams,
        (
            Metric("before", "MB before"),
            Metric("during", "MB with them"),
            Metric("each", "KB/stream", 0),
            Metric("idle", "CPU ms/s", 2),
        ),
        only="proxies",
        most_rounds=2,
    ),
    Case("body100k", "100 KB in, 1 client", body_100k, (P50, CPU)),
    Case("body5m", "5 MB in, 1 client", body_5m, (P50, CPU, Metric("resident", "MB after")), only="proxies"),
    Case(
        "mix",
        "a day's mix: streams, requests, bodies side by side",
        days_mix,
        (Metric("cpu", "CPU ms"), Metric("p99", "small p99 ms"), Metric("chunk", "chunk p99 ms")),
    ),
    Case(
        "stall",
        "a reader that stalls in 400 MB",
        stalled_reader,
        (Metric("growth", "MB growth"), Metric("carried", "MB carried", 0)),
        only="proxies",
        most_rounds=2,
    ),
    Case(
        "swap",
        "a swap where loading takes no time",
        swap,
        (Metric("swap", "p50 ms"), Metric("most", "max ms")),
        only="starters",
    ),
    Case(
        "ready",
        "readiness noticed after it was true",
        readiness,
        (Metric("late", "p50 ms"), Metric("most", "max ms")),
        only="starters",
        most_rounds=3,
    ),
    Case(
        "start",
        "from the start of the process to accepting",
        start_up,
        (Metric("start", "ms", 0), Metric("cpu", "CPU ms", 0), Metric("resident", "MB")),
        only="proxies",
    ),
)
