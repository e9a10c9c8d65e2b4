"""How fast the service is beside no proxy and beside other proxies, measured in turns on one core.

Run: ``python -m bench.proxy`` in the root of the repository (``make bench``); ``--help`` tells the rest.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.proxy import candidates, machine, report
from bench.proxy.candidates import Candidate, Setting
from bench.proxy.cases import CASES, Bench, Case
from bench.proxy.load import Load, LoadError

EPILOG = """
A peer's COMMAND may hold {port} where it is to listen, {upstream} for HOST:PORT of an upstream that runs, {config}
for a configuration of llama-swap (the peer starts the upstreams itself then), {folder} for a temporary folder, and
{file:PATH} for a copy of a file with these filled in, such as bench/proxy/nginx.conf or bench/proxy/haproxy.cfg:
  make bench BENCH='--peer nginx="nginx -c {file:bench/proxy/nginx.conf}"'
Of a peer that runs already (--peer-url) the upstream must be this bench's, at --upstream-port.
"""


def arguments() -> argparse.Namespace:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("bench.proxy", description=__doc__, epilog=EPILOG, formatter_class=form)
    add = parser.add_argument
    names = [case.name for case in CASES]
    add("--rounds", type=int, default=3, help="turns of each candidate in each case (default: %(default)s)")
    add("--case", action="append", choices=names, metavar="NAME", help=f"only these: {', '.join(names)}")
    add("--peer", action="append", default=[], metavar="NAME=COMMAND", help="another proxy, started by the bench")
    add("--peer-url", action="append", default=[], metavar="NAME=URL", help="another proxy, running on this machine")
    add("--no-asyncio", action="store_true", help="leave out ours on asyncio's own loop")
    add("--upstream-port", type=int, default=0, metavar="PORT", help="of the upstream for peers (default: a free one)")
    add("--json", type=Path, metavar="FILE", help="keep all figures there")
    add("--seed", type=int, default=1, help="of the order of turns")
    return parser.parse_args()


def taking_part(options: argparse.Namespace) -> list[Candidate]:
    """Everybody, in the order of the tables."""
    found = [Candidate(report.DIRECT), *candidates.ourselves()]
    if options.no_asyncio and len(found) > 2:
        found.pop()
    for peer in options.peer:
        name, _, command = peer.partition("=")
        found.append(Candidate(name, command))
    for peer in options.peer_url:
        name, _, url = peer.partition("=")
        found.append(candidates.running(name, url))
    return found


@contextmanager
def started(found: Sequence[Candidate], setting: Setting, load: Load) -> Iterator[None]:
    """All candidates up at once, warm."""
    upstream = candidates.start_upstream(setting)
    try:
        for candidate in found:
            if candidate.command:
                # Once for what it keeps on disk: a Python that compiles takes 15 MB more for as long as it runs.
                candidates.start(candidate, setting)
                candidates.stop(candidate)
                candidates.start(candidate, setting)
            elif not candidate.pids:
                candidate.port = setting.upstream_port
            load.run(candidate.port, clients=32, total=500)
            candidate.look_again()
        yield
    finally:
        for candidate in found:
            candidates.stop(candidate)
        upstream.kill()
        upstream.wait()


def run(case: Case, bench: Bench, found: Sequence[Candidate], rounds: int, dice: random.Random) -> report.Rounds:
    """One case: everybody takes a turn in each round, in an order of its own."""
    figures: report.Rounds = {candidate.name: [] for candidate in found if case.concerns(candidate)}
    concerned = [candidate for candidate in found if case.concerns(candidate)]
    for _ in range(min(rounds, case.most_rounds)):
        for candidate in dice.sample(concerned, len(concerned)):
            try:
                bench.load.run(candidate.port)  # the model may have been swapped out
                figures[candidate.name].append(case.measure(bench, candidate))
            except (LoadError, OSError) as error:
                print(f"{case.name}: {candidate.name}: {error}", file=sys.stderr)
    return figures


def main() -> int:
    """Run the cases that were asked for and print their tables."""
    options = arguments()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: sys.exit(1))  # whatever was started is stopped on the way out
    cores = machine.Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    kept: dict[str, report.Rounds] = {}
    with tempfile.TemporaryDirectory(prefix="llama-swap-bench-") as name:
        folder = Path(name)
        try:
            upstream, generator = machine.compile_c("upstream", folder), machine.compile_c("load", folder)
        except machine.NoCompilerError as error:
            print(f"{error}; the data plane is not measured")
            return 0
        ports = machine.Ports()
        setting = Setting(folder, cores, upstream, options.upstream_port or ports.take(), ports)
        bench = Bench(setting, Load(generator, cores.load))
        found, dice = taking_part(options), random.Random(options.seed)
        print(
            f"{machine.describe()}\n{options.rounds} rounds; medians (least..most); A : B is A's figure in units of B's"
        )
        with started(found, setting, bench.load):
            for case in CASES:
                if not options.case or case.name in options.case:
                    kept[case.name] = run(case, bench, found, options.rounds, dice)
                    print(report.table(case, kept[case.name]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
