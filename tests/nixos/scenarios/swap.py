"""Two real models behind one endpoint: started, swapped and unloaded on demand, and gone when the service is gone."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
machine.wait_for_unit("llama-swap.service")

with subtest("READY means listening"):
    curl("/health")
    listed = [model["id"] for model in json.loads(curl("/v1/models"))["data"]]
    assert listed == ["alpha", "beta"], listed
    assert running() == {}, running()

with subtest("a request starts its model"):
    assert "alpha" in says("alpha").lower()
    assert running() == {"alpha": "ready"}, running()

with subtest("another model replaces it"):
    assert "beta" in says("beta").lower()
    assert running() == {"beta": "ready"}, running()
    machine.fail("pgrep --full 'llama-server .*/alpha[.]gguf'")

with subtest("a streamed answer ends as streams end"):
    events = [line for line in chat("beta", "--no-buffer", stream=True).splitlines() if line]
    assert all(line.startswith("data: ") for line in events), events
    assert events[-1] == "data: [DONE]", events
    deltas = [json.loads(line.removeprefix("data: "))["choices"] for line in events[:-1]]
    words = [choice["delta"].get("content") or "" for choices in deltas for choice in choices]
    assert "beta" in "".join(words).lower(), events
    assert len([word for word in words if word]) > 1, events

with subtest("status tells what runs"):
    machine.wait_until_succeeds("systemctl show --property=StatusText llama-swap.service | grep '1 of 2 models ready'")

with subtest("an idle model is unloaded"):
    machine.wait_until_fails("pgrep llama-server")
    assert running() == {}, running()

with subtest("each model has a control group of its own"):
    says("alpha")
    group = machine.succeed(f"cat /proc/{pid_of('alpha')}/cgroup")
    assert group != machine.succeed(f"cat /proc/{main_pid()}/cgroup"), group

with subtest("kill -9 of the service leaves no process and the service comes back"):
    before = main_pid()
    machine.succeed("systemctl kill --signal=KILL --kill-whom=main llama-swap.service")
    machine.wait_until_succeeds(f"systemctl is-active llama-swap.service && ! test -d /proc/{before}")
    machine.wait_until_fails("pgrep llama-server")
    assert main_pid() != before
    assert "alpha" in says("alpha").lower()

with subtest("a clean stop leaves no process"):
    machine.succeed("systemctl stop llama-swap.service")
    machine.fail("pgrep llama-server")
    state = machine.succeed("systemctl show --property=Result --value llama-swap.service").strip()
    assert state == "success", state
