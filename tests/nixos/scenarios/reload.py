"""An edit of one model reloads: the others keep their process. A file that cannot be used changes nothing."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
machine.wait_for_unit("llama-swap.service")
says("alpha")
says("beta")
service, alpha, beta = main_pid(), pid_of("alpha"), pid_of("beta")

with subtest("an edit of beta reloads and leaves alpha alone"):
    switch_to(f"{base}/specialisation/edited")
    machine.wait_for_unit("llama-swap.service")
    assert main_pid() == service, "the service was restarted"
    assert pid_of("alpha") == alpha, "alpha was restarted"
    assert "beta" in says("beta").lower()
    assert pid_of("beta") != beta, "beta still runs with its old options"
    assert "--ctx-size 1024" in machine.succeed(f"tr '\\0' ' ' < /proc/{pid_of('beta')}/cmdline")

with subtest("a new model needs no restart either"):
    switch_to(f"{base}/specialisation/more")
    assert main_pid() == service, "the service was restarted"
    assert pid_of("alpha") == alpha, "alpha was restarted"
    listed = [model["id"] for model in json.loads(curl("/v1/models"))["data"]]
    assert listed == ["alpha", "beta", "gamma"], listed

with subtest("a broken file keeps the old configuration and says so"):
    machine.succeed("rm /etc/llama-swap/config.yaml && echo 'models: {broken' > /etc/llama-swap/config.yaml")
    machine.execute("systemctl reload llama-swap.service")
    assert main_pid() == service, "the service was restarted"
    assert pid_of("alpha") == alpha, "alpha was restarted"
    assert "alpha" in says("alpha").lower()
    machine.wait_until_succeeds("journalctl --unit=llama-swap.service --no-pager --grep='configuration not reloaded'")

with subtest("a configuration that cannot be used does not loop"):
    machine.execute("systemctl restart llama-swap.service")
    machine.wait_until_succeeds("systemctl is-failed llama-swap.service")
    status = machine.succeed("systemctl show --property=ExecMainStatus --value llama-swap.service").strip()
    assert status == "78", status
    restarts = machine.succeed("systemctl show --property=NRestarts --value llama-swap.service").strip()
    assert restarts == "0", restarts
