"""The devices are another unit's while it runs: models leave, requests hear why, and everything returns by itself."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
import secrets

# Made up by each run: this file is in the store, too.
key = f"sk-{secrets.token_hex(16)}"
machine.succeed(f"install --mode=600 /dev/null /run/llama-swap-key && echo {key} > /run/llama-swap-key")
# Without the file the unit cannot start; by now it may have tried too often.
machine.succeed("systemctl reset-failed llama-swap.service", "systemctl restart llama-swap.service")
machine.wait_for_unit("llama-swap.service")

AUTH = f"--header 'authorization: Bearer {key}'"
YIELD = "llama-swap-yield-game.service"


def process_of(model: str) -> str:
    """A command that succeeds while the model's process is there."""
    return f"pgrep --full 'llama-server .*/{model}[.]gguf'"


def refused_because(model: str) -> str:
    """What a request for the model is told; fails unless that is a 503."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]})
    answer = machine.succeed(
        f"curl --silent --max-time 60 --write-out '\\n%{{http_code}}' {AUTH} --header 'content-type: application/json'"
        f" --data '{body}' {URL}/v1/chat/completions"
    )
    text, _, status = answer.rpartition("\n")
    assert status == "503", answer
    return str(json.loads(text)["error"]["message"])


with subtest("while the game runs, models leave and requests are told why"):
    assert "alpha" in says("alpha", AUTH).lower()
    machine.succeed("systemctl start game.service")
    machine.wait_for_unit(YIELD)
    machine.wait_until_fails(process_of("alpha"))
    assert "game.service runs" in refused_because("beta")

with subtest("when the game dies, a pinned model returns by itself"):
    machine.succeed("systemctl kill --signal=KILL game.service")
    machine.wait_until_fails(f"systemctl is-active {YIELD}")
    machine.wait_until_succeeds(process_of("alpha"))
    assert "alpha" in says("alpha", AUTH).lower()

with subtest("a service that restarts meanwhile is told again"):
    machine.succeed("systemctl reset-failed game.service", "systemctl start game.service")
    machine.wait_for_unit(YIELD)
    machine.succeed("systemctl restart llama-swap.service")
    machine.wait_for_unit("llama-swap.service")
    machine.wait_for_unit(YIELD)
    assert "game.service runs" in refused_because("alpha")

with subtest("a service that is stopped, and started later, is told again"):
    machine.succeed("systemctl stop llama-swap.service")
    machine.wait_until_fails(f"systemctl is-active {YIELD}")
    machine.succeed("systemctl start llama-swap.service")
    machine.wait_for_unit(YIELD)
    assert "game.service runs" in refused_because("alpha")

with subtest("when the game is stopped, requests are served"):
    machine.succeed("systemctl stop game.service")
    machine.wait_until_fails(f"systemctl is-active {YIELD}")
    assert "alpha" in says("alpha", AUTH).lower()
    machine.succeed("systemctl is-active llama-swap.service")

with subtest("the key is not in the unit"):
    machine.fail(f"systemctl cat {YIELD} | grep {key}")
