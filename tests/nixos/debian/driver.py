"""The methods of the NixOS test driver that scenarios use, for the machine this runs on, and a run of all scenarios.

Usage: driver.py SYSTEMS SCENARIOS RESULT [NAME...]
"""

# ruff: noqa: T201 - a program that talks to the console
# ruff: noqa: TID251 - it polls what has no event to wait for, as the NixOS test driver does

import contextlib
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.2


class Machine:
    """The machine this runs on, driven as the NixOS test driver drives its machines."""

    def execute(self, command: str, timeout: float = PATIENCE_SECONDS) -> tuple[int, str]:
        """Status and standard output of a shell command."""
        done = subprocess.run(
            ["/bin/bash", "-c", f"set -o pipefail; {command}"],
            stdout=subprocess.PIPE,
            timeout=timeout,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def succeed(self, *commands: str) -> str:
        """Output of commands that must succeed."""
        outputs = []
        for command in commands:
            status, output = self.execute(command)
            assert status == 0, f"exit {status} of: {command}\n{output}"
            outputs.append(output)
        return "".join(outputs)

    def fail(self, *commands: str) -> str:
        """Output of commands that must fail."""
        outputs = []
        for command in commands:
            status, output = self.execute(command)
            assert status != 0, f"should have failed: {command}\n{output}"
            outputs.append(output)
        return "".join(outputs)

    def wait_until_succeeds(self, command: str, timeout: float = PATIENCE_SECONDS) -> str:
        """Repeat a command until it succeeds."""
        return self._repeat(command, timeout, wanted=True)

    def wait_until_fails(self, command: str, timeout: float = PATIENCE_SECONDS) -> str:
        """Repeat a command until it fails."""
        return self._repeat(command, timeout, wanted=False)

    def wait_for_unit(self, unit: str, timeout: float = PATIENCE_SECONDS) -> None:
        """Wait until a unit is active; one that has failed never will be."""
        deadline = time.monotonic() + timeout
        while (state := self.execute(f"systemctl is-active {unit}")[1].strip()) != "active":
            assert state != "failed", f"{unit} failed\n{self.execute(f'systemctl status --no-pager --full {unit}')[1]}"
            assert time.monotonic() < deadline, f"{unit} is {state}"
            time.sleep(POLL_SECONDS)

    def _repeat(self, command: str, timeout: float, *, wanted: bool) -> str:
        deadline = time.monotonic() + timeout
        while True:
            status, output = self.execute(command)
            if (status == 0) is wanted:
                return output
            assert time.monotonic() < deadline, f"still exit {status} of: {command}\n{output}"
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def subtest(name: str) -> Iterator[None]:
    """Say what is being tested."""
    started = time.monotonic()
    print(f"  {name}", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" ... FAILED", flush=True)
        raise
    print(f" ({time.monotonic() - started:.1f} s)", flush=True)


def switch(system: str) -> None:
    """Make this machine the given one; a unit that cannot start yet is the scenario's business."""
    subprocess.run([sys.executable, str(Path(__file__).with_name("switch.py")), system], check=False)


def run(name: str, systems: Path, scenarios: Path) -> bool:
    """Run one scenario on its machine; whether it passed."""
    print(f"{name}", flush=True)
    scenario = (systems / name / "scenario").read_text().strip()
    text = "\n".join((scenarios / f"{part}.py").read_text() for part in ("prelude", scenario))
    switch(str((systems / name / "system").resolve()))
    try:
        exec(compile(text, scenario, "exec"), {"machine": Machine(), "subtest": subtest, "start_all": lambda: None})
    except BaseException:  # noqa: BLE001 - whatever goes wrong in a scenario is its result
        traceback.print_exc()
        subprocess.run(["journalctl", "--no-pager", "--lines=60", "--unit=llama-swap.service"], check=False)
        return False
    finally:
        switch("none")
        subprocess.run(["systemctl", "reset-failed"], check=False)
        subprocess.run(["nft", "flush", "ruleset"], check=False)
    return True


def main() -> None:
    """Run the named scenarios, or all, and write the results."""
    systems, scenarios, result = map(Path, sys.argv[1:4])
    names = sys.argv[4:] or sorted(path.name for path in systems.iterdir())
    results = {name: run(name, systems, scenarios) for name in names}
    result.write_text(json.dumps(results))
    for name, passed in results.items():
        print(f"{'passed' if passed else 'FAILED'}: {name}", flush=True)
    sys.exit(not all(results.values()))


if __name__ == "__main__":
    main()
