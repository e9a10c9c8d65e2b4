"""Declarations of memory that the command contradicts."""

import pytest


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ("cmd: 'srv ${PORT} -ngl 0', vram: 8GiB", "the command uses no device"),
        ("cmd: 'srv ${PORT} --device none', vram: {0: 8GiB}", "the command uses no device"),
        ("cmd: 'srv ${PORT}', env: [CUDA_VISIBLE_DEVICES=0], vram: {1: 8GiB}", "names device 1, and"),
        ("cmd: 'srv ${PORT} -dev CUDA0,CUDA1', vram: {0: 8GiB, 2: 1GiB, 3: 1GiB}", "names device 2, 3, and"),
        ("cmd: 'srv ${PORT}', env: [CUDA_VISIBLE_DEVICES=GPU-aaaa], vram: {GPU-bbbb: 8GiB}", "names device GPU-bbbb"),
    ],
)
def test_contradictions(load, keys, rule):
    """They do not stop the service: the command decides."""
    (problem,) = load(f"models: {{m: {{{keys}}}}}").warnings
    assert problem.key == "models.m.vram"
    assert rule in problem.rule
    assert problem.line == 1


@pytest.mark.parametrize(
    "keys",
    [
        "cmd: 'srv ${PORT} -ngl 0', vram: 0",
        "cmd: 'srv ${PORT} -ngl 0'",
        "cmd: 'srv ${PORT}', vram: {5: 8GiB}",
        "cmd: 'docker run ${PORT}', vram: {5: 8GiB}",
        "cmd: 'srv ${PORT} -dev CUDA0,CUDA1', vram: {1: 8GiB}",
        "cmd: 'srv ${PORT}', env: [CUDA_VISIBLE_DEVICES=GPU-aaaa], vram: {0: 8GiB}",
        "cmd: 'srv ${PORT}', env: [CUDA_VISIBLE_DEVICES=0], vram: {GPU-aaaa: 8GiB}",
        "cmd: 'srv ${PORT}', env: [CUDA_VISIBLE_DEVICES=0], vram: 8GiB",
    ],
)
def test_no_contradictions(load, keys):
    """What may be so is left alone: a number and a UUID may be the same device."""
    assert load(f"models: {{m: {{{keys}}}}}").warnings == ()
