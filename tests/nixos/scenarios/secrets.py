"""A key comes from a file that only root can read, and is nowhere else."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
key = "sk-correct-horse-battery"
machine.succeed(f"install --mode=600 /dev/null /run/llama-swap-key && echo {key} > /run/llama-swap-key")
# Without the file the unit cannot start; by now it may have tried too often.
machine.succeed("systemctl reset-failed llama-swap.service", "systemctl restart llama-swap.service")
machine.wait_for_unit("llama-swap.service")

with subtest("without the key nothing is served"):
    machine.fail(f"curl --silent --fail {URL}/v1/models")
    machine.fail(f"curl --silent --fail --header 'authorization: Bearer wrong' {URL}/v1/models")

with subtest("with the key everything is"):
    assert "alpha" in says("alpha", f"--header 'authorization: Bearer {key}'").lower()

with subtest("the key is in no file of the store, the unit or /etc"):
    machine.fail(f"systemctl cat llama-swap.service | grep {key}")
    machine.fail(f"systemctl show llama-swap.service | grep {key}")
    machine.fail(f"grep --recursive {key} /etc/llama-swap/ /etc/systemd/system/")
    machine.fail(f"grep {key} $(readlink --canonicalize /etc/llama-swap/config.yaml)")
    machine.fail(f"grep {key} $(systemctl show --property=FragmentPath --value llama-swap.service)")

with subtest("the log does not tell it"):
    machine.fail(f"journalctl --unit=llama-swap.service --no-pager | grep {key}")
