"""What the tests of simulated traffic run; the model of the world is in ``simulated``."""

import pytest
from simulated import one_place

from llama_swap.scheduler import Scheduler


@pytest.fixture(scope="session")
def simulate_jobs():
    """``simulate_jobs(jobs, ...)``: the scores of the real scheduler on any jobs; see ``one_place.Job``, ``spec``."""

    def run(jobs, **keys):
        return one_place.play(Scheduler(one_place.spec(**keys)), [one_place.Job(*job) for job in jobs])

    return run


@pytest.fixture
def simulate():
    """``simulate(kind, workload, ...)``: the scores of a run of three models in one place."""
    return one_place.simulate
