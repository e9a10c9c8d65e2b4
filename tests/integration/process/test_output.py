"""What a child prints, how much of it, and how it ends."""

import asyncio
import os
import time

from llama_swap.process import ExitReport


async def test_lines_of_both_streams_arrive_with_the_last_one_unfinished(start):
    """Also what was printed immediately before the end, without a newline."""
    run = await start(argv=("sh", "-c", "echo one; echo two >&2; printf 'no newline'; exit 3"))
    report = await run.child.wait_exit()
    assert [line for stream, line in run.lines if stream == "stdout"] == [b"one", b"no newline"]
    assert [line for stream, line in run.lines if stream == "stderr"] == [b"two"]
    assert (report.detail, report.exit_code, report.signal) == ("exit status 3", 3, None)
    assert set(report.output_tail) == {"one", "two", "no newline"}


async def test_the_report_keeps_the_last_twenty_lines(start):
    """What a failed start shows to the one who waited for it."""
    run = await start(argv=("seq", "1", "30"))
    report = await run.child.wait_exit()
    assert report.output_tail == tuple(map(str, range(11, 31)))


async def test_a_crash_while_loading_is_reported_with_code_and_reason(start):
    """The exit code and the last lines of stderr."""
    run = await start("--crash-at-start", "7")
    assert await run.child.wait_exit() == ExitReport("exit status 7", 7, None, ("error: cannot load the model",))


async def test_a_signal_is_reported_by_its_name(start):
    """``killed by SIGSEGV`` says more than ``-11``."""
    run = await start(argv=("sh", "-c", "kill -SEGV $$"))
    report = await run.child.wait_exit()
    assert (report.detail, report.exit_code, report.signal) == ("killed by SIGSEGV", None, 11)


async def test_a_burst_arrives_whole(start):
    """More than a pipe holds, and more than the burst that is read at full speed."""
    run = await start("--flood-stdout", "1200000", "--load-seconds", "0.3")
    await run.child.wait_ready()
    await run.printed(lambda lines: any(b"server is listening" in line for line in lines))
    await run.printed(lambda lines: sum(line.count(b"f") for line in lines) == 1_200_000 // 80 * 79)


async def test_an_endless_flood_neither_starves_the_loop_nor_blocks_the_end(start):
    """It is read more slowly than it is written, and never more than a little in one pass of the loop."""
    run = await start("--flood-stdout", "-1", "--load-seconds", "0.1")
    await run.child.wait_ready()
    passes, end = [], time.monotonic() + 1
    while time.monotonic() < end:
        before = time.thread_time()  # not the clock, which other processes advance as well
        await asyncio.sleep(0)
        passes.append(time.thread_time() - before)
    began = time.monotonic()
    report = await run.stop()
    assert report.exit_code == 0
    assert max(passes) < 0.03
    assert time.monotonic() - began < 2


async def test_a_child_has_no_stdin_no_terminal_and_none_of_our_files(start):
    """It leads a session of its own and inherits three descriptors."""
    # The shell opens one more to read the folder itself.
    run = await start(argv=("sh", "-c", "readlink /proc/$$/fd/0; ls /proc/$$/fd; cut -d' ' -f5,6 /proc/$$/stat"))
    await run.child.wait_exit()
    null, *fds, ids = [line.decode() for _, line in run.lines]
    assert null == "/dev/null"
    assert fds == ["0", "1", "2"]
    assert ids == f"{run.child.pid} {run.child.pid}"


async def test_what_the_service_manager_told_us_is_not_passed_on(start, monkeypatch):
    """A child must not speak to systemd in our name; a value that a user configured stays."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("LISTEN_FDS", "1")
    run = await start(argv=("env",), LISTEN_FDS="3", UP_WORD="word")
    await run.child.wait_exit()
    printed = {line.decode() for _, line in run.lines}
    assert {"LISTEN_FDS=3", "UP_WORD=word", f"PATH={os.environ['PATH']}"} <= printed
    assert not any(line.startswith("NOTIFY_SOCKET") for line in printed)
