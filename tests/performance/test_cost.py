"""A coarse guard: what the service does for a request and for a chunk, counted in bytecode instructions.

Counts are the same on a slow, a fast and a busy machine. They are compared with a plain aiohttp proxy that is counted
in the same way, so that another version of Python or of aiohttp changes both. The bench (``make bench``) measures time.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

COUNTING = Path(__file__).with_name("counting.py")
SECONDS = 120
# Measured with Python 3.11 and 3.13, aiohttp 3.14: 0.76 and 0.82 a request, 0.34 a chunk. A quarter more must not pass.
MOST_PER_REQUEST = 1.0
MOST_PER_CHUNK = 0.43


def counted(what):
    """Instructions for each request and chunk of ``service`` or ``plain``."""
    command = [sys.executable, str(COUNTING), what]
    out = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    figures = [line for line in out.stdout.splitlines() if line.startswith("{")]
    assert figures, out.stdout + out.stderr
    return json.loads(figures[0].partition("}")[0] + "}")


@pytest.fixture(scope="module")
def ratios():
    """Ours in units of the plain proxy's."""
    with ThreadPoolExecutor() as both:
        service, plain = both.map(counted, ("service", "plain"))
    return {name: service[name] / plain[name] for name in plain}


def test_instructions_of_a_request(ratios):
    """Key, activity, metrics and log included, a small request costs what it does in a proxy that has none of them."""
    assert ratios["request"] < MOST_PER_REQUEST


def test_instructions_of_a_chunk(ratios):
    """A chunk passes in one step from socket to socket, which no StreamReader and no StreamResponse can do."""
    assert ratios["chunk"] < MOST_PER_CHUNK


def test_the_counts_are_real(ratios):
    """The guard would notice if nothing were counted, or the requests of the one were not those of the other."""
    assert ratios["request"] > 0.3
    assert ratios["chunk"] > 0.1
