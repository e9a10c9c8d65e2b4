"""One run of a day: the clock, the processes and the clients around a scheduler."""

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field

from llama_swap.scheduler.commands import (
    AssessNeed,
    GrantLease,
    KillProcess,
    MeasureMemory,
    ReadAhead,
    RejectRequest,
    StartProcess,
    StopProcess,
)
from llama_swap.scheduler.events import (
    DeadlineReached,
    MemoryMeasured,
    NeedAssessed,
    ProcessExited,
    ProcessReady,
    RequestArrived,
    RequestGone,
)
from llama_swap.scheduler.memory import HOST, UNKNOWN_NEED, Need, NeedSource, PoolReading
from simulated.deeds import Answer, Ask, Release, Take
from simulated.machine import GIB, Cards, Machine, OutOfMemory, PageCache
from simulated.scores import Scores

MEASURE_SECONDS = 0.02
ASSESS_SECONDS = 0.05
GAME_TRIES_EVERY_SECONDS = 0.5
HOST_GIB = 64.0


@dataclass
class Request:
    """A request on its way."""

    ask: Ask
    client: object
    at: float
    granted_at: float | None = None


@dataclass
class Process:
    """A modelled process."""

    instance_id: int
    model: str
    cards: tuple[int, ...]
    requests: set = field(default_factory=set)
    is_gone: bool = False
    is_ready: bool = False


class World:
    """One run of a day.

    Attributes:
        is_measuring: the scheduler gets readings and is told of an exit at once; else it learns of the exit when the
            memory is free.
    """

    def __init__(self, scheduler, models, machine=None, *, seed=1, is_measuring=True):
        self.scheduler, self.models, self.machine = scheduler, models, machine or Machine()
        self.is_measuring = is_measuring
        self.random = random.Random(seed)
        self.cards, self.cache = Cards(self.machine), PageCache(self.machine)
        self.agenda, self.tie, self.now = [], itertools.count(), 0.0
        self.processes, self.requests, self.ids = {}, {}, itertools.count(1)
        self.learned, self.peaks = {}, {}  # model -> seconds from start to ready, GiB it took
        self.clients = 0
        self.scores = Scores()

    def run(self, clients, *, give_up_at=7 * 86400.0):
        """Play until all clients are done; a client is (when it begins, its generator)."""
        clients = list(clients)
        began = min((at for at, _ in clients), default=0.0)
        for at, client in clients:
            self.clients += 1
            self.plan(at, self.step, client, None)
        if self.is_measuring:
            self.measure()
        while self.clients:
            deadline = self.scheduler.next_deadline()
            if deadline is not None and (not self.agenda or deadline < self.agenda[0][0]):
                self.now = max(self.now, deadline)
                self.tell(DeadlineReached())
            elif not self.agenda or self.now > give_up_at:
                raise AssertionError(f"{self.clients} clients wait for ever, at {self.now:.0f} s")
            else:
                self.now, _, act, *arguments = heapq.heappop(self.agenda)
                act(*arguments)
        self.scores.seconds = self.now - began
        return self.scores

    def plan(self, at, act, *arguments):
        """Let something happen later."""
        heapq.heappush(self.agenda, (at, next(self.tie), act, *arguments))

    def tell(self, event):
        """Report an event and do what the scheduler orders."""
        self.scores.events += 1
        for command in self.scheduler.handle(event, now=self.now):
            self.obey(command)

    # --- clients ------------------------------------------------------------------------

    def step(self, client, result):
        """Let a client go on."""
        try:
            wish = client.send(result)
        except StopIteration:
            self.clients -= 1
            return
        match wish:
            case Ask():
                self.ask(wish, client)
            case Take():
                self.take(wish, client, self.now, wish.size)
            case Release(program):
                self.cards.give_back(program)
                self.plan(self.now, self.step, client, None)
            case int() | float():
                self.plan(self.now + wish, self.step, client, None)
            case _:
                self.plan(self.now, self.step, client, None)
                self.tell(wish)

    def ask(self, ask, client):
        """A request arrives."""
        request_id = next(self.ids)
        self.requests[request_id] = Request(ask, client, self.now)
        if ask.patience < math.inf:
            self.plan(self.now + ask.patience, self.lose_patience, request_id)
        self.tell(RequestArrived(request_id, ask.model, ask.terms))

    def lose_patience(self, request_id):
        """The client of a request leaves unless it is served."""
        request = self.requests.get(request_id)
        if request is not None and request.granted_at is None:
            self.scores.lost += 1
            self.end(request_id, Answer(None))
            self.tell(RequestGone(request_id))

    def end(self, request_id, answer):
        """A request is over; its client goes on."""
        request = self.requests.pop(request_id)
        self.plan(self.now, self.step, request.client, answer)

    def take(self, wish, client, since, missing):
        """A foreign program takes what there is, until it has all."""
        size = min(missing, max(0.0, self.cards.free(wish.card)))
        self.cards.take(wish.program, {wish.card: size})
        if missing - size > 1e-9 and self.now - since < wish.patience:
            self.plan(self.now + GAME_TRIES_EVERY_SECONDS, self.take, wish, client, since, missing - size)
            return
        self.scores.game_waits.append(self.now - since)
        self.plan(self.now, self.step, client, self.now - since)

    # --- what the scheduler orders ----------------------------------------------------------

    def obey(self, command):
        """Do what a command says."""
        match command:
            case StartProcess(instance_id, model):
                self.launch(instance_id, model, command.devices)
            case StopProcess(instance_id):
                self.plan(self.now + self.machine.stop_seconds, self.exit, self.processes[instance_id])
            case KillProcess(instance_id):
                self.plan(self.now, self.exit, self.processes[instance_id])
            case GrantLease(request_id, instance_id):
                self.serve(request_id, instance_id)
            case RejectRequest(request_id):
                self.refuse(request_id, command)
            case MeasureMemory():
                self.measure()
            case AssessNeed(model, fingerprint):
                self.plan(self.now + ASSESS_SECONDS, self.assessed, model, fingerprint)
            case ReadAhead(model):
                self.cache.read_ahead(model, self.now)

    def serve(self, request_id, instance_id):
        """A request has its lease."""
        request, process = self.requests[request_id], self.processes[instance_id]
        request.granted_at = self.now
        process.requests.add(request_id)
        wait = self.now - request.at
        self.scores.served(request.ask.kind, request.ask.terms.caller, wait)
        self.plan(self.now + request.ask.seconds, self.complete, request_id, process, wait)

    def complete(self, request_id, process, wait):
        """The last byte was sent, unless the process has died meanwhile."""
        if request_id in process.requests:
            process.requests.discard(request_id)
            self.end(request_id, Answer(wait))
            self.tell(RequestGone(request_id, served=True))

    def refuse(self, request_id, command):
        """A request is turned away."""
        self.scores.refused[command.reason] += 1
        self.end(
            request_id,
            Answer(None, reason=command.reason, retry_after_seconds=command.retry_after_seconds),
        )

    # --- processes ---------------------------------------------------------------------------

    def launch(self, instance_id, name, devices):
        """A process begins: it first allocates its weights, then reads them."""
        self.scores.starts[name] += 1
        count = len(self.machine.cards)
        cards = tuple(int(device.removeprefix("GPU-")) for device in devices) or tuple(range(count))
        process = self.processes[instance_id] = Process(instance_id, name, cards)
        self.plan(self.now + self.machine.launch_seconds, self.allocate, process, self.now)

    def allocate(self, process, since):
        """Take the memory for the weights and begin to read them."""
        if process.is_gone:
            return
        model = self.models[process.model]
        context = dict.fromkeys(process.cards, self.machine.context)
        weights = self.cards.split(model.weights, process.cards)
        if not self.try_to_take(process, {card: weights[card] + context[card] for card in process.cards}):
            return
        seconds = model.load_seconds
        if seconds is None:
            seconds = self.cache.load_seconds(process.model, model.weights, self.now)
        else:
            seconds -= self.machine.launch_seconds
        share = {card: size / (model.weights or 1.0) for card, size in weights.items()}
        self.plan(self.now + seconds, self.become_ready, process, since, share)

    def become_ready(self, process, since, share):
        """Take the rest of the memory and answer the probe."""
        model = self.models[process.model]
        if process.is_gone or not self.try_to_take(process, {c: model.rest * part for c, part in share.items()}):
            return
        process.is_ready = True
        self.learned[process.model] = self.now - since
        self.peaks[process.model] = sum(self.cards.held.get(process.instance_id, {}).values())
        self.scores.loading_seconds += self.now - since
        self.tell(ProcessReady(process.instance_id))

    def try_to_take(self, process, sizes):
        """Take memory, or die of not getting it."""
        try:
            self.cards.take(process.instance_id, sizes)
        except OutOfMemory:
            self.scores.out_of_memory += 1
            self.exit(process, is_out_of_memory=True)
            return False
        return True

    def exit(self, process, *, is_out_of_memory=False):
        """A process ends; its memory comes back a while later."""
        if process.is_gone:
            return
        process.is_gone = True
        for request_id in tuple(process.requests):
            process.requests.discard(request_id)
            self.scores.failed += 1
            self.end(request_id, Answer(None))
            self.plan(self.now, self.tell, RequestGone(request_id))
        lag = self.random.uniform(*self.machine.lag) if self.machine.cards else 0.0
        detail = "out of memory" if is_out_of_memory else "exit code 0"
        event = ProcessExited(process.instance_id, detail, out_of_memory=is_out_of_memory)
        # The process is not in the driver's list any more, but what it had is not free yet.
        held = self.cards.held.pop(process.instance_id, {})
        self.cards.held["late", process.instance_id] = held
        self.plan(self.now + lag, self.cards.give_back, ("late", process.instance_id))
        self.plan(self.now + (0.0 if self.is_measuring else lag), self.tell, event)

    # --- what the scheduler wants to know ---------------------------------------------------------

    def measure(self):
        """Read the memory as it is now; the answer comes a moment later."""
        host = PoolReading(HOST, "host", None, int(HOST_GIB * GIB), int(HOST_GIB * 0.8 * GIB), held={})
        pools = (host, *(self.reading(card) for card in range(len(self.machine.cards))))
        measured = MemoryMeasured(self.now, pools, has_devices=bool(self.machine.cards))
        self.plan(self.now + MEASURE_SECONDS, self.tell, measured)

    def reading(self, card):
        """One card as NVML tells it."""
        held = {i: int(sizes.get(card, 0.0) * GIB) for i, sizes in self.cards.held.items() if isinstance(i, int)}
        others = (sizes.get(card, 0.0) for holder, sizes in self.cards.held.items() if not isinstance(holder, int))
        return PoolReading(
            f"GPU-{card}",
            f"GPU {card}",
            card,
            int(self.machine.cards[card] * GIB),
            int(self.cards.free(card) * GIB),
            held={i: size for i, size in held.items() if size},
            foreign_bytes=int((self.machine.reserved + sum(others)) * GIB),
            listed_bytes=0,
        )

    def assessed(self, name, fingerprint):
        """What is known of a model: what it took last time, else what its configuration says."""
        self.tell(NeedAssessed(name, fingerprint, self.need(name)))

    def need(self, name):
        """The best figure there is."""
        model = self.models[name]
        seconds = self.learned.get(name)
        if name in self.peaks:
            return Need(
                NeedSource.LEARNED,
                int(self.peaks[name] * GIB),
                load_seconds=seconds,
                per_device_bytes=int(self.machine.context * GIB),
            )
        if model.error is None:
            return UNKNOWN_NEED
        size = (model.need + self.machine.context) * (1 + model.error)
        return Need(
            NeedSource.DECLARED, int(size * GIB), load_seconds=seconds, per_device_bytes=int(self.machine.context * GIB)
        )
