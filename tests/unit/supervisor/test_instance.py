"""Why the process of a request has ended, in the words of its error."""

import pytest

from llama_swap.api.errors import TABLE
from llama_swap.errors import Reason, RequestError
from llama_swap.process import ExitReport
from llama_swap.supervisor import Instance

from .conftest import leased, make_config, running


@pytest.mark.parametrize(
    ("words", "kernel", "short"), [(True, False, True), (False, True, True), (False, False, False)]
)
async def test_a_request_is_told_that_memory_ran_out(tmp_path, launcher, words, kernel, short):
    """Its connection broke; the process said why, or the kernel did. Otherwise the error stays what it was."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _), leased(supervisor, "a") as lease:
        process, broken = launcher.processes[0], RequestError(Reason.UPSTREAM_FAILED, "connection reset")
        if words:
            process.say("CUDA error: out of memory")
        process.exit("killed by SIGABRT", out_of_memory=kernel)
        if short:
            with pytest.raises(RequestError, match="model 'a': it ran out of memory") as caught:
                await lease.instance.blame(broken)
            assert caught.value.reason is Reason.OUT_OF_MEMORY
        else:
            await lease.instance.blame(broken)


async def test_a_request_is_told_that_it_was_cut_by_a_yield(tmp_path, launcher):
    """With that reason and a time to try again, not as a fault of the model."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _), leased(supervisor, "a") as lease:
        lease.instance.yielded_because = "a game runs"
        with pytest.raises(RequestError, match="stopped while it served this request: a game runs") as caught:
            await lease.instance.blame(RequestError(Reason.UPSTREAM_FAILED, "connection reset"))
        assert (caught.value.reason, caught.value.retry_after_seconds) == (Reason.YIELDED, 60)


async def test_a_stream_ends_with_the_code_that_an_answer_would_have(tmp_path):
    """So that a client need not read the words."""
    model = make_config(tmp_path, {"a": {}}).models["a"]
    yielded = Instance(1, model, 0.0, yielded_because="a game")
    short, fine = (Instance(1, model, 0.0, ran_out_of_memory=is_short) for is_short in (True, False))
    for instance in (short, fine):
        instance.gone.set()
    codes = [(await instance.why_cut())[1] for instance in (yielded, short, fine)]
    table = [TABLE[reason].code for reason in (Reason.YIELDED, Reason.OUT_OF_MEMORY)]
    assert codes == [*table, ""]


async def test_an_error_of_the_client_is_not_memory_s(tmp_path, launcher):
    """Nobody waits for the end of a process because a request was wrong."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _), leased(supervisor, "a") as lease:
        await lease.instance.blame(RequestError(Reason.INVALID_REQUEST, "no"))


@pytest.mark.parametrize(
    ("asked", "ready_at", "said_at", "is_short"),
    [(False, None, 1.0, True), (False, 2.0, 95.0, True), (False, 2.0, 50.0, False), (True, None, 99.0, False)],
    ids=["loading", "just now", "long ago", "we ended it"],
)
def test_words_explain_an_end_only_at_once(tmp_path, asked, ready_at, said_at, is_short):
    """A server that serves may say that memory ran out and go on; what we end ourselves did not end of it."""
    model = make_config(tmp_path, {"a": {}}).models["a"]
    instance = Instance(1, model, 0.0, ready_at=ready_at, stop_asked=asked, memory_words_at=said_at)
    assert instance.died_of_memory(ExitReport("exit status 1", 1, None, ()), 100.0) is is_short
