"""The best source first, and always an answer."""

import asyncio
import os
import select
from pathlib import Path

import pytest

from llama_swap.footprint.assess import Assessor
from llama_swap.footprint.estimate import DEVICE_CONTEXT_BYTES
from llama_swap.footprint.facts import ModelFacts
from llama_swap.footprint.learned import LearnedStore, RunFigures
from llama_swap.scheduler.memory import NeedSource

from .conftest import llama_metadata

GIB = 1 << 30
FIXED = ("-c", "8192", "-ngl", "99")


@pytest.fixture
def store():
    """Figures in memory."""
    return LearnedStore()


@pytest.fixture
def facts(server, write_gguf):
    """``facts(*options, vram_bytes=...)`` is a model whose server and file are there."""
    model = write_gguf()

    def make(*options, env=None, **declared):
        argv = (str(server), "-m", str(model), *options)
        return ModelFacts("m", argv, {"PATH": os.environ["PATH"], **(env or {})}, **declared)

    return make


@pytest.fixture
def tool(server):
    """``tool("lines")`` puts a llama-fit-params beside the server; returns how often it was run."""
    runs = server.with_name("runs")

    def install(text):
        path = server.with_name("llama-fit-params")
        path.write_text(f'#!/bin/sh\necho "$*" >> {runs}\n{text}\n')
        path.chmod(0o755)
        return lambda: runs.read_text().splitlines() if runs.exists() else []

    return install


ANSWER = "echo 'CUDA0 4000 1024 200'; echo 'Host 100 0 10'"


async def test_learned_is_best(store, facts, tool):
    """Nothing else is asked then."""
    runs = tool(ANSWER)
    assessor = Assessor(store)
    model = facts(*FIXED, vram_bytes=3)
    examined = await assessor.examine(model)
    store.record(examined.identity, RunFigures({"A": 5 * GIB}, 7, 12.0))
    need = await assessor.assess(model)
    assert (need.source, need.device_bytes, need.load_seconds) == (NeedSource.LEARNED, 5 * GIB, 12.0)
    assert runs() == []


async def test_load_times_with_and_without_reading_ahead(store, facts):
    """Both are told, so that the gain can be seen."""
    assessor, model = Assessor(store), facts(*FIXED)
    examined = await assessor.examine(model)
    store.record(examined.identity, RunFigures({"A": GIB}, 7, 41.0))
    assert (await assessor.assess(model)).ahead_seconds is None
    store.record(examined.identity, RunFigures({"A": GIB}, 7, 12.0, read_ahead=True))
    need = await assessor.assess(model)
    assert (need.load_seconds, need.ahead_seconds) == (41.0, 12.0)


async def test_declared_is_next(store, facts, tool):
    """llama.cpp is not asked either."""
    runs = tool(ANSWER)
    need = await Assessor(store).assess(facts(*FIXED, vram_bytes=3 * GIB))
    assert (need.source, need.device_bytes) == (NeedSource.DECLARED, 3 * GIB)
    assert runs() == []


async def test_asked_is_next_and_asked_once(store, facts, tool):
    """The answer is kept."""
    runs = tool(ANSWER)
    assessor = Assessor(store)
    needs = [await assessor.assess(facts(*FIXED)) for _ in range(2)]
    assert needs[0].source is NeedSource.ASKED
    assert dict(needs[0].parts)["weights"] == 4001 << 20
    assert needs[0] == needs[1]
    assert needs[0] == await Assessor(store).assess(facts(*FIXED))
    assert len(runs()) == 1


@pytest.mark.parametrize(("devices", "seen"), [(None, "0"), (("*",), "all"), (("1",), "all")])
async def test_it_is_asked_for_one_device_where_the_choice_is_ours(facts, tool, tmp_path, devices, seen):
    """Else for those that the command will see."""
    tool(f"echo ${{CUDA_VISIBLE_DEVICES:-all}} > {tmp_path}/seen; {ANSWER}")
    await Assessor(LearnedStore()).assess(facts(*FIXED, devices=devices))
    assert (tmp_path / "seen").read_text().strip() == seen


async def test_asking_can_be_switched_off(store, facts, tool):
    """``askLlamaCpp: false``."""
    runs = tool(ANSWER)
    need = await Assessor(store, ask_llama_cpp=False).assess(facts(*FIXED))
    assert need.source is NeedSource.ESTIMATED
    assert runs() == []


@pytest.mark.parametrize("text", ["exit 1", "echo nonsense", "echo 'error: invalid argument: --fit-print' >&2; exit 1"])
async def test_without_an_answer_it_is_estimated(store, facts, tool, text):
    """And llama.cpp not asked the same again."""
    runs = tool(text)
    assessor = Assessor(store)
    for _ in range(2):
        assert (await assessor.assess(facts(*FIXED))).source is NeedSource.ESTIMATED
    assert len(runs()) == 1


async def test_another_command_is_asked_about_anew(store, facts, tool):
    """A failure says nothing about other models."""
    runs = tool("exit 1")
    assessor = Assessor(store)
    await assessor.assess(facts(*FIXED))
    await assessor.assess(facts(*FIXED, "-b", "64"))
    assert len(runs()) == 2


async def test_an_answer_without_the_device_is_not_believed(store, facts, tool):
    """A full card refuses the tool its context, and it then counts for the host alone."""
    tool("echo 'Host 5000 1000 200'")
    assessor = Assessor(store)
    assert (await assessor.assess(facts(*FIXED), most_bytes=24 * GIB)).source is NeedSource.ESTIMATED
    tool(ANSWER)
    assert (await assessor.assess(facts(*FIXED, "-b", "64"), most_bytes=24 * GIB)).source is NeedSource.ASKED
    tool("echo 'Host 5000 1000 200'")
    assert (await assessor.assess(facts(*FIXED))).source is NeedSource.ASKED
    on_host = facts("-c", "8192", "-ngl", "0")
    assert (await Assessor(store).assess(on_host, most_bytes=24 * GIB)).source is NeedSource.ASKED


async def test_one_question_at_a_time(store, facts, tool, tmp_path):
    """Each creates a context on a device."""
    runs = tool(f"mkdir {tmp_path}/busy || exit 1; {ANSWER}; rmdir {tmp_path}/busy")
    assessor = Assessor(store)
    async with asyncio.TaskGroup() as tasks:
        questions = [tasks.create_task(assessor.assess(facts(*FIXED, "-b", str(n)))) for n in (64, 128, 256)]
    assert [question.result().source for question in questions] == [NeedSource.ASKED] * 3
    assert len(runs()) == 3


async def test_a_question_that_is_given_up_ends(store, facts, tool, tmp_path):
    """With its process."""
    os.mkfifo(tmp_path / "started")
    tool(f"echo $$ > {tmp_path}/started; exec sleep 1000")
    async with asyncio.TaskGroup() as tasks:
        question = tasks.create_task(Assessor(store).assess(facts(*FIXED)))
        pid = int(await asyncio.to_thread((tmp_path / "started").read_text))
        question.cancel()
    assert question.cancelled()
    await asyncio.to_thread(_wait_gone, pid)


def _wait_gone(pid):
    """Until the process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended, _, _ = select.select([descriptor], [], [], 60)
    os.close(descriptor)
    assert ended


async def test_what_is_not_understood_is_unknown_with_the_reason(store, write_gguf, server):
    """Whatever the trouble is."""
    strange = write_gguf("s.gguf", llama_metadata("deepseek4"), [])
    for argv, words in (
        (("python", "serve.py"), "no llama-server"),
        ((str(server), "-m", "/nowhere.gguf"), "/nowhere.gguf is not there"),
        ((str(server), "-m", str(strange)), "deepseek4"),
        ((), "no llama-server"),
    ):
        need = await Assessor(store).assess(ModelFacts("m", argv))
        assert need.source is NeedSource.UNKNOWN
        ((text, size),) = need.parts
        assert words in text
        assert size == 0


async def test_files_that_must_not_be_looked_at_are_no_error(store, facts, monkeypatch):
    """A folder of another user."""

    def refuse(_path):
        raise PermissionError(13, "Permission denied", "/secret/m.gguf")

    monkeypatch.setattr(Path, "is_file", refuse)
    need = await Assessor(store).assess(ModelFacts("m", ("llama-server", "-m", "/secret/m.gguf")))
    assert need.source is NeedSource.UNKNOWN
    assert "Permission denied" in need.parts[0][0]


async def test_an_unknown_command_is_learned_all_the_same(store):
    """vLLM, or a container."""
    assessor = Assessor(store)
    model = ModelFacts("m", ("docker", "run", "--name", "x", "vllm/vllm-openai"))
    examined = await assessor.examine(model)
    assert examined.files == ()
    store.record(examined.identity, RunFigures({"A": 5}))
    assert (await assessor.assess(model)).source is NeedSource.LEARNED


async def test_files_are_named_for_reading_ahead(store, facts, write_gguf):
    """All that the server will read."""
    projector = write_gguf("p.gguf", {}, [])
    examined = await Assessor(store).examine(facts("--mmproj", str(projector)))
    assert [path.name for path in examined.files] == ["model.gguf", "p.gguf"]


async def test_a_server_that_adapts_is_asked_for_what_it_wants(store, facts):
    """With what was learned where it got that."""
    assessor = Assessor(store)
    wanted = await assessor.assess(facts(), most_bytes=48 * GIB)
    assert wanted.source is NeedSource.ESTIMATED
    assert dict(wanted.parts)["left free by --fit"] == GIB
    assert (await assessor.assess(facts(), most_bytes=8 * GIB)).source is NeedSource.UNKNOWN
    examined = await assessor.examine(facts())
    store.record(examined.identity, RunFigures({"A": 7 * GIB}))
    assert (await assessor.assess(facts(), most_bytes=8 * GIB)).device_bytes == 7 * GIB
    assert (await assessor.assess(facts(), most_bytes=48 * GIB)) == wanted
    store.record(examined.identity, RunFigures({"A": wanted.device_bytes - GIB - (1 << 20)}))
    assert (await assessor.assess(facts(), most_bytes=48 * GIB)).source is NeedSource.LEARNED


async def test_a_declared_need_of_one_that_adapts_holds(store, facts):
    """Its owner knows better what it wants; that it does with less is true all the same."""
    assessor, model = Assessor(store), facts(vram_bytes=3 * GIB)
    need = await assessor.assess(model, most_bytes=2 * GIB)
    assert (need.source, need.device_bytes) == (NeedSource.DECLARED, 3 * GIB)
    assert 0 < need.least_bytes < 3 * GIB
    store.record((await assessor.examine(model)).identity, RunFigures({"A": 20 * GIB}))
    seen = await assessor.assess(model, most_bytes=24 * GIB)
    assert (seen.source, seen.device_bytes, seen.least_bytes) == (NeedSource.LEARNED, 20 * GIB, need.least_bytes)


async def test_what_a_server_once_took_is_a_wish_if_it_adapts(store, facts):
    """Whatever the source; one that does not adapt needs what it needs."""
    assessor = Assessor(store)
    for most in (48 * GIB, 8 * GIB, None):
        assert 0 < (await assessor.assess(facts(), most_bytes=most)).least_bytes < GIB
    assert (await assessor.assess(facts("-ngl", "99"), most_bytes=48 * GIB)).least_bytes > 6 * GIB
    for options in (FIXED, ("-fit", "off"), ("-ngl", "0")):
        assert (await assessor.assess(facts(*options), most_bytes=48 * GIB)).least_bytes is None


async def test_a_server_that_adapts_and_is_not_understood(store, facts, write_gguf):
    """Nothing is known before it ran; what it then took is a wish down to what a driver takes for itself."""
    write_gguf(metadata=llama_metadata("kimi-linear"))
    assessor = Assessor(store)
    need = await assessor.assess(facts(), most_bytes=48 * GIB)
    assert (need.source, need.least_bytes) == (NeedSource.UNKNOWN, None)
    store.record((await assessor.examine(facts())).identity, RunFigures({"A": 20 * GIB}))
    need = await assessor.assess(facts(), most_bytes=48 * GIB)
    assert (need.source, need.device_bytes, need.least_bytes) == (NeedSource.LEARNED, 20 * GIB, DEVICE_CONTEXT_BYTES)


async def test_memory_of_the_machine_alone_is_declared_where_there_is_no_device(store, facts):
    """There it is all that a model can take; beside devices it says nothing about them."""
    assessor = Assessor(store)
    program = ModelFacts("m", ("some-server",), ram_bytes=9 * GIB)
    need = await assessor.assess(program)
    assert (need.source, need.device_bytes, need.host_bytes) == (NeedSource.DECLARED, 0, 9 * GIB)
    need = await assessor.assess(program, most_bytes=8 * GIB)
    assert (need.source, need.host_bytes) == (NeedSource.UNKNOWN, 9 * GIB)
    need = await assessor.assess(facts(*FIXED, ram_bytes=9 * GIB), most_bytes=48 * GIB)
    assert (need.source, need.host_bytes) == (NeedSource.ESTIMATED, 9 * GIB)
    assert need.device_bytes + need.host_bytes == sum(size for _, size in need.parts)
    need = await assessor.assess(facts(ram_bytes=9 * GIB), most_bytes=8 * GIB)
    assert (need.source, need.host_bytes) == (NeedSource.UNKNOWN, 9 * GIB), "one that makes itself smaller"


async def test_the_next_start_knows_better_after_memory_ran_out(store, facts):
    """Whatever the source."""
    assessor = Assessor(store)
    before = await assessor.assess(facts(*FIXED))
    store.raise_((await assessor.examine(facts(*FIXED))).identity, before.device_bytes + GIB)
    after = await assessor.assess(facts(*FIXED))
    assert after.device_bytes == before.device_bytes + GIB
    assert dict(after.parts)["more, because memory ran out once"] == GIB


async def test_a_named_device_is_where_it_goes(store, facts):
    """One that the command names."""
    need = await Assessor(store).assess(facts(*FIXED, "--device", "CUDA1", devices=("1",)))
    assert need.by_device == {"1": need.device_bytes}
