"""The stop ladder, and that nothing survives it."""

import asyncio
import os
import signal
import subprocess
import time

import pytest

from llama_swap.process import LaunchFailed
from llama_swap.process.procfs import children_of, read_stat

FORKS = ["group", "session", "daemon"]


async def test_sigterm_lets_it_end_in_its_own_time(start):
    """A clean end is awaited, not cut."""
    run = await start("--stop-seconds", "0.2")
    await run.child.wait_ready()
    report = await run.stop()
    assert report.exit_code == 0
    assert run.journal("exit")[0]["t"] - run.journal("sigterm")[0]["t"] >= 0.2


async def test_asking_twice_is_asking_once(start):
    """Only the first call sends a signal; after the end both calls do nothing."""
    run = await start("--stop-seconds", "0.1")
    await run.child.wait_ready()
    run.child.terminate()
    run.child.terminate()
    first, second = await asyncio.gather(run.child.wait_exit(), run.child.wait_exit())
    assert first == second
    assert len(run.journal("sigterm")) == 1
    run.child.terminate()
    run.child.kill()


async def test_a_child_that_ignores_sigterm_dies_by_kill(start):
    """The caller's patience decides when."""
    run = await start("--ignore-sigterm")
    await run.child.wait_ready()
    run.child.terminate()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await run.child.wait_exit()
    run.child.kill()
    assert (await run.child.wait_exit()).detail == "killed by SIGKILL"
    assert run.journal("sigterm")


@pytest.mark.parametrize("kind", FORKS)
@pytest.mark.parametrize("end", ["terminate", "kill", "crash"])
async def test_no_grandchild_survives(start, is_gone, kind, end):
    """However the child ends, and wherever its own children have gone; they hold its pipes open, too."""
    run = await start("--fork-grandchild", kind)
    await run.child.wait_ready()
    grandchild = run.journal("grandchild")[0]["pid"]
    {"terminate": run.child.terminate, "kill": run.child.kill, "crash": lambda: os.kill(run.child.pid, 9)}[end]()
    async with asyncio.timeout(3):
        await run.child.wait_exit()
    assert is_gone(grandchild, 0)
    assert read_stat(grandchild) is None, "reaped as well"
    assert read_stat(run.child.pid) is None


@pytest.mark.parametrize("kind", FORKS)
async def test_grandchildren_that_ignore_sigterm_die_too(start, is_gone, kind):
    """Those in the group have the rest of the grace period, the others die with the child."""
    run = await start("--fork-grandchild", kind, "--ignore-sigterm")
    await run.child.wait_ready()
    grandchild = run.journal("grandchild")[0]["pid"]
    run.child.terminate()
    os.kill(run.child.pid, signal.SIGKILL)
    if kind == "group":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await run.child.wait_exit()
        run.child.kill()
    async with asyncio.timeout(3):
        await run.child.wait_exit()
    assert is_gone(grandchild, 0)


async def test_the_server_behind_a_shell_ends_cleanly(start):
    """The shell dies of SIGTERM at once; what it had started got the signal as well and keeps its grace."""
    run = await start(argv=("sh", "-c", "@fake@ --stop-seconds 0.2; true"))
    await run.child.wait_ready()
    report = await run.stop()
    assert report.detail == "killed by SIGTERM"
    assert len(run.journal("exit")) == 1


async def test_an_emptied_environment_does_not_help(start, is_gone):
    """Whoever was seen below the child is remembered, though he has dropped our mark and his session."""
    run = await start(argv=("sh", "-c", "env -i setsid sleep 300 & echo $!; wait"))
    await run.printed(bool)
    sleeper = int(run.lines[0][1])
    await run.stop()
    assert is_gone(sleeper, 0)


# --- cmdStop ------------------------------------------------------------------


async def test_cmd_stop_runs_instead_of_sigterm(start, tmp_path):
    """With the process ID and the environment of the child."""
    stop = ("sh", "-c", f'echo "$UP_WORD ${{PID}}" > {tmp_path}/stopped; kill -9 ${{PID}}')
    run = await start(stop=stop, UP_WORD="word")
    await run.child.wait_ready()
    await run.stop()
    assert (tmp_path / "stopped").read_text().split() == ["word", str(run.child.pid)]
    assert run.journal("sigterm") == []


@pytest.mark.parametrize(
    ("stop", "complaint"),
    [(("sh", "-c", "echo oops >&2; exit 3"), b"exit status 3"), (("/no/such/stop",), b"no such file or directory")],
)
async def test_a_cmd_stop_that_fails_is_reported_and_replaced_by_sigterm(start, stop, complaint):
    """The user reads why in the model's log, and the model ends all the same."""
    run = await start(stop=stop)
    await run.child.wait_ready()
    async with asyncio.timeout(3):
        await run.stop()
    assert any(b"cmdStop" in line and complaint in line for _, line in run.lines)
    assert run.journal("sigterm")


async def test_a_cmd_stop_that_hangs_is_killed_with_the_rest(start):
    """It may use up the grace period, no more."""
    run = await start(stop=("sh", "-c", "echo stopping; sleep 300"))
    await run.child.wait_ready()
    run.child.terminate()
    await run.printed(lambda lines: b"stopping" in lines)
    run.child.kill()
    async with asyncio.timeout(3):
        await run.child.wait_exit()
    assert not run.journal("sigterm")


async def test_a_cmd_stop_may_clean_up_after_the_child(start, tmp_path):
    """The child is gone only when its cmdStop is, so that the next start does not meet the leftovers."""
    run = await start(stop=("sh", "-c", f"kill -9 ${{PID}}; sleep 0.2; touch {tmp_path}/clean"))
    await run.child.wait_ready()
    await run.stop()
    assert (tmp_path / "clean").exists()


# --- what cannot be started ----------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("/does/not/exist", "--port", "1"), "failed to start command '/does/not/exist': no such file or directory"),
        (("",), "empty command"),
        (("/",), "failed to start command '/': permission denied"),
        (("sh", "a\0b"), "failed to start command 'sh': embedded null byte"),
    ],
)
async def test_a_command_that_cannot_be_executed(start, argv, message):
    """The reason is for the one who sent the request."""
    with pytest.raises(LaunchFailed) as failure:
        await start(argv=argv)
    assert str(failure.value) == message


async def test_a_program_for_another_distribution(start, tmp_path):
    """The kernel calls a missing loader "no such file"; on NixOS that is the usual mistake, so say what is meant."""
    program = tmp_path / "program"
    program.write_text("#!/lib64/ld-none.so\n")
    program.chmod(0o755)
    with pytest.raises(LaunchFailed, match="its interpreter or dynamic loader is not"):
        await start(argv=(str(program),))


# --- orphans and other people's children -----------------------------------------


async def test_orphans_are_reaped_while_the_child_lives(start):
    """A long-lived model must not collect zombies in us."""
    run = await start(argv=("sh", "-c", "sh -c 'sleep 0.1 & echo $!' ; exec sleep 300"))
    await run.printed(bool)
    orphan = int(run.lines[0][1])
    async with asyncio.timeout(5):
        while read_stat(orphan) is not None:  # noqa: ASYNC110  (nobody is told when the kernel forgets it)
            await asyncio.sleep(0.01)
    assert read_stat(run.child.pid) is not None


@pytest.fixture
def other_peoples_zombies():
    """Two children of this process that have ended; one had a session of its own."""
    zombies = [subprocess.Popen(["sh", "-c", f"exit {5 + alone}"], start_new_session=alone) for alone in (False, True)]
    for zombie in zombies:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    return zombies


async def test_nobody_elses_exit_status_is_stolen(start, other_peoples_zombies):
    """Other parts may start processes and ask for their status late, in our session or in one of their own."""
    run = await start("--fork-grandchild", "daemon")
    await run.child.wait_ready()
    await run.stop()
    assert [zombie.poll() for zombie in other_peoples_zombies] == [5, 6]


async def test_a_crash_is_noticed_at_once(start):
    """No polling stands between the end of a process and our knowledge of it."""
    run = await start()
    await run.child.wait_ready()
    began = time.monotonic()
    os.kill(run.child.pid, signal.SIGKILL)
    await run.child.wait_exit()
    assert time.monotonic() - began < 0.1


@pytest.fixture
def children_before():
    """What the process of the tests has as children before a launcher opens."""
    return set(children_of(os.getpid()))


async def test_closing_the_launcher_ends_every_child(children_before, launcher, start):
    """And leaves no zombie and no guardian."""
    runs = [await start("--ignore-sigterm") for _ in range(3)]
    await launcher.close()
    assert all(read_stat(run.child.pid) is None for run in runs)
    assert set(children_of(os.getpid())) <= children_before
