"""A configuration as one writes it for nixpkgs' module: a command as text, nothing typed."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
machine.wait_for_unit("llama-swap.service")
URL = "http://localhost:8080"

with subtest("a hand-written command runs"):
    assert "alpha" in says("alpha").lower()

with subtest("an alias is the same process"):
    before = pid_of("alpha")
    assert "alpha" in says("the-best").lower()
    assert pid_of("alpha") == before
