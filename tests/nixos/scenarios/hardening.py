"""The unit is as confined as it claims, with and without a GPU, by systemd's own measure."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
machine.wait_for_unit("llama-swap.service")

with subtest("without a GPU at most 1.2"):
    machine.succeed("systemd-analyze security --no-pager --threshold=12 llama-swap.service >&2")

with subtest("the service sees no home, no device and no way to write to the system"):
    service = main_pid()
    machine.succeed("touch /home/diary", "test -e /dev/kmsg")
    machine.succeed(f"test \"$(nsenter --target {service} --mount ls -A /home)\" = ''")
    machine.fail(f"nsenter --target {service} --mount test -e /dev/kmsg")
    machine.fail(f"nsenter --target {service} --mount touch /usr/x /etc/x")

with subtest("a model runs in it"):
    assert "alpha" in says("alpha").lower()

with subtest("with a GPU at most 1.5, and a model still runs"):
    switch_to(f"{base}/specialisation/gpu")
    machine.wait_for_unit("llama-swap.service")
    machine.succeed("systemd-analyze security --no-pager --threshold=15 llama-swap.service >&2")
    assert "alpha" in says("alpha").lower()

with subtest("with a socket, a restart refuses nobody"):
    switch_to(f"{base}/specialisation/socket")
    machine.succeed("systemctl stop llama-swap.service")
    assert "alpha" in says("alpha").lower()
    machine.succeed("systemctl is-active llama-swap.service")
