"""A key comes from a file that only root can read, and is nowhere else."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
import secrets

# Made up by each run: this file is in the store, too.
key = f"sk-{secrets.token_hex(16)}"
machine.succeed(f"install --mode=600 /dev/null /run/llama-swap-key && echo {key} > /run/llama-swap-key")
# Without the file the unit cannot start; by now it may have tried too often.
machine.succeed("systemctl reset-failed llama-swap.service", "systemctl restart llama-swap.service")
machine.wait_for_unit("llama-swap.service")

with subtest("without the key nothing is served"):
    machine.fail(f"curl --silent --fail {URL}/v1/models")
    machine.fail(f"curl --silent --fail --header 'authorization: Bearer wrong' {URL}/v1/models")

with subtest("with the key everything is"):
    assert "alpha" in says("alpha", f"--header 'authorization: Bearer {key}'").lower()


def holds_key(*files: str) -> bool:
    """Whether any of the files, or a file below them, has the key. It is an error if one cannot be read."""
    status, _ = machine.execute(f"grep --recursive --quiet --fixed-strings {key} {' '.join(files)}")
    assert status in {0, 1}, (status, files)
    return status == 0


with subtest("the key is in no file of the store, the unit or /etc"):
    assert holds_key("/run/llama-swap-key"), "the search finds nothing at all"
    stored = machine.succeed("ls --directory /nix/store/*llama-swap*").split()
    assert any(path.endswith("config.yaml") for path in stored), stored
    assert not holds_key(*stored)
    assert not holds_key("$(readlink --canonicalize /etc/llama-swap/config.yaml)")
    assert not holds_key("$(systemctl show --property=FragmentPath --value llama-swap.service)")
    machine.fail(f"systemctl cat llama-swap.service | grep {key}")
    machine.fail(f"systemctl show llama-swap.service | grep {key}")

with subtest("a model is not told"):
    environment = f"/proc/{pid_of('alpha')}/environ"
    machine.succeed(f"grep --quiet --text PATH= {environment}")
    assert not holds_key(environment)
    assert not holds_key(f"/proc/{pid_of('alpha')}/cmdline")

with subtest("the log does not tell it"):
    machine.fail(f"journalctl --unit=llama-swap.service --no-pager | grep {key}")
