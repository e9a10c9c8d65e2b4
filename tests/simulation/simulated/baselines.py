"""What others do, behind the same interface: strict order with one model at a time, and the least recently used of N.

Both are given more than such services have: they never cut a request, and learn of an exit when the memory is back.
"""

import itertools
from dataclasses import dataclass, field

from llama_swap.scheduler.commands import GrantLease, RejectReason, RejectRequest, StartProcess, StopProcess
from llama_swap.scheduler.events import ProcessExited, ProcessReady, RequestArrived, RequestGone


class FirstInFirstOut:
    """One model at a time, strictly in the order of arrival; what a first version of such a service does."""

    def __init__(self):
        self.line = []
        self.running = None  # (instance, model)
        self.is_ready = False
        self.leases = set()
        self.ids = itertools.count(1)

    def next_deadline(self):
        """It has no sense of time."""
        return

    def handle(self, event, *, now):
        """Take an event as the real one does; time means nothing to it."""
        commands = []
        match event:
            case RequestArrived(request_id, model):
                self.line.append((request_id, model))
            case RequestGone(request_id):
                self.leases.discard(request_id)
                self.line = [entry for entry in self.line if entry[0] != request_id]
            case ProcessReady():
                self.is_ready = True
            case ProcessExited(instance_id) if self.running is not None and instance_id == self.running[0]:
                if not self.is_ready and self.line:  # it failed to start, or was stopped after an earlier failure
                    commands = [_failed(*self.line.pop(0))] if event.out_of_memory else []
                self.running, self.is_ready = None, False
        return commands + self.decide()

    def decide(self):
        """Serve the front of the line, else swap."""
        commands = []
        while self.line and self.is_ready and self.line[0][1] == self.running[1]:
            request_id, model = self.line.pop(0)
            self.leases.add(request_id)
            commands.append(GrantLease(request_id, self.running[0], model))
        if self.line and self.running is None:
            self.running = (next(self.ids), self.line[0][1])
            commands.append(StartProcess(*self.running, ""))
        elif self.line and self.is_ready and not self.leases:
            self.is_ready = False
            commands.append(StopProcess(*self.running, ""))
        return commands


@dataclass
class Run:
    """A process as :class:`LeastRecentlyUsed` knows it."""

    instance_id: int
    used_at: float
    is_ready: bool = False
    is_leaving: bool = False
    leases: set = field(default_factory=set)


class LeastRecentlyUsed:
    """At most so many models at once; the idle one that was used least recently leaves, as in llama.cpp's router."""

    def __init__(self, places):
        self.places = places
        self.runs = {}
        self.queue = {}  # model -> request IDs
        self.ids = itertools.count(1)

    def next_deadline(self):
        """It has no sense of time."""
        return

    def handle(self, event, *, now):
        """Take an event as the real one does."""
        commands = []
        match event:
            case RequestArrived(request_id, model):
                self.queue.setdefault(model, []).append(request_id)
            case RequestGone(request_id):
                for run in self.runs.values():
                    if request_id in run.leases:
                        run.leases.discard(request_id)
                        run.used_at = now
                self.queue = {m: left for m, ids in self.queue.items() if (left := [i for i in ids if i != request_id])}
            case ProcessReady(instance_id):
                for run in self.runs.values():
                    if run.instance_id == instance_id:
                        run.is_ready, run.used_at = True, now
            case ProcessExited(instance_id):
                commands = self.exited(event, instance_id)
        return commands + self.decide(now)

    def exited(self, event, instance_id):
        """Forget a process; who waited for one that could not start is told."""
        model = next((m for m, run in self.runs.items() if run.instance_id == instance_id), None)
        if model is None:
            return []
        failed_to_start = not self.runs[model].is_ready and event.out_of_memory
        del self.runs[model]
        return [_failed(i, model) for i in self.queue.pop(model, ())] if failed_to_start else []

    def decide(self, now):
        """Serve what runs, and start what waits longest as far as there is a place."""
        commands = []
        for model in sorted(self.queue, key=lambda model: self.queue[model][0]):
            run = self.runs.get(model)
            if run is not None and run.is_ready and not run.is_leaving:
                ids = self.queue.pop(model)
                run.leases.update(ids)
                commands += [GrantLease(i, run.instance_id, model) for i in ids]
            elif run is None and len(self.runs) < self.places:
                self.runs[model] = Run(next(self.ids), now)
                commands.append(StartProcess(self.runs[model].instance_id, model, ""))
            elif run is None:
                commands += self.evict()
        return commands

    def evict(self):
        """One model for each that waits, if one is idle."""
        leaving = sum(run.is_leaving for run in self.runs.values())
        waiting = sum(model not in self.runs for model in self.queue)
        idle = [m for m, r in self.runs.items() if r.is_ready and not r.leases and not r.is_leaving]
        idle = [m for m in idle if m not in self.queue]
        if leaving >= waiting or not idle:
            return []
        model = min(idle, key=lambda model: self.runs[model].used_at)
        self.runs[model].is_leaving = True
        return [StopProcess(self.runs[model].instance_id, model, "")]


def _failed(request_id, model):
    return RejectRequest(request_id, model, RejectReason.START_FAILED, "out of memory", "")
