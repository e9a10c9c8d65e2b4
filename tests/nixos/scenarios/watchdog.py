"""A service that hangs is noticed and started again."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
machine.wait_for_unit("llama-swap.service")
before = main_pid()
says("alpha")

with subtest("a stopped process misses its watchdog and is replaced"):
    machine.succeed(f"kill -STOP {before}")
    machine.wait_until_succeeds(f"! test -d /proc/{before} && systemctl is-active llama-swap.service")
    assert main_pid() != before
    machine.succeed("journalctl --unit=llama-swap.service --no-pager --grep='Watchdog timeout'")

with subtest("nothing of the old one is left, and the new one serves"):
    machine.fail("pgrep llama-server")
    assert "alpha" in says("alpha").lower()
