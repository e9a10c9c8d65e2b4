"""Where learned figures are kept."""

from pathlib import Path

import pytest

from llama_swap.config.statefile import learned_path


@pytest.mark.parametrize(
    ("written", "env", "path"),
    [
        (None, {"STATE_DIRECTORY": "/var/lib/llama-swap", "HOME": "/h"}, "/var/lib/llama-swap/footprints.json"),
        (None, {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/footprints.json"),
        (None, {"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/llama-swap/footprints.json"),
        (None, {"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/llama-swap/footprints.json"),
        (None, {"HOME": "/h"}, "/h/.local/state/llama-swap/footprints.json"),
        (None, {}, None),
        ("/x/y.json", {"HOME": "/h"}, "/x/y.json"),
        ("", {"HOME": "/h"}, None),
    ],
)
def test_learned_path(written, env, path):
    """As written, else where systemd or the XDG specification has state; an empty text is no file."""
    assert learned_path(written, env) == (None if path is None else Path(path))


def test_configured(load, tmp_path):
    """The configuration has it resolved."""
    settings = f"routing: {{router: {{settings: {{fit: {{learned: {tmp_path}/l.json}}}}}}}}"
    assert load(settings, env={"HOME": "/h"}).fit_learned_path == tmp_path / "l.json"
    assert load("models: {}", env={"STATE_DIRECTORY": "/s"}).fit_learned_path == Path("/s/footprints.json")
    assert load(settings.replace(f"{tmp_path}/l.json", '""')).fit_learned_path is None


def test_a_path_that_cannot_be(refused, load):
    """What is written must be writable here, unless this is not the machine it is for."""
    settings = "routing: {router: {settings: {fit: {learned: /nowhere/l.json}}}}"
    (problem,) = refused(settings).values()
    assert problem.rule == "directory /nowhere does not exist"
    assert len(load(settings, allow_missing_env=True).warnings) == 1
