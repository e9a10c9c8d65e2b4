"""What all scenarios use; put before each of them.

``machine``, ``subtest`` and ``start_all`` come from the NixOS test driver, or from debian/driver.py, which has the few
of its methods that are used here.
"""

# ruff: noqa: F821 - the names of the test driver and of the prelude
import json
from typing import Any

URL = "http://127.0.0.1:9292"


def curl(path: str, *options: str) -> str:
    """The body of an answer; fails unless the status is below 400."""
    return machine.succeed(f"curl --silent --show-error --fail-with-body --max-time 60 {' '.join(options)} {URL}{path}")


def chat(model: str, *options: str, **more: Any) -> str:
    """What the model says to a greeting, as curl prints it; ``more`` goes into the request's body."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16, **more})
    return curl("/v1/chat/completions", "--header 'content-type: application/json'", f"--data '{body}'", *options)


def says(model: str, *options: str) -> str:
    """The text of the model's answer."""
    return str(json.loads(chat(model, *options))["choices"][0]["message"]["content"])


def running() -> dict[str, Any]:
    """State by model, of those that have one."""
    return {entry["model"]: entry["state"] for entry in json.loads(curl("/running"))["running"]}


def pid_of(model: str) -> int:
    """The process that serves a model."""
    return int(machine.succeed(f"pgrep --full 'llama-server .*/{model}[.]gguf'"))


def main_pid() -> int:
    """The process of the service."""
    return int(machine.succeed("systemctl show --property=MainPID --value llama-swap.service"))


def switch_to(system: str) -> None:
    """Switch the running machine to another configuration, as nixos-rebuild does."""
    machine.succeed(f"{system}/bin/switch-to-configuration test >&2")


start_all()
machine.wait_for_unit("multi-user.target")
base = machine.succeed("readlink --canonicalize /run/current-system").strip()
