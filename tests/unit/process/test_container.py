"""Containers of ours, told by their ID in the name of a control group."""

import pytest

from llama_swap.process import container as module
from llama_swap.process.container import Container, container_of

ID = "0123456789abcdef" * 4
OTHER = "f" * 64


@pytest.fixture
def groups(monkeypatch):
    """The control group of each process."""
    groups = {
        1: f"/system.slice/docker-{ID}.scope",
        2: f"/../../docker/{ID}",
        3: f"/user.slice/user-1000.slice/libpod-{ID}.scope/container",
        4: f"/system.slice/docker-{OTHER}.scope",
        5: "/system.slice/llama-swap.service",
    }
    monkeypatch.setattr(module, "cgroup_of", lambda pid: groups.get(pid, ""))
    return groups


@pytest.fixture
def engine(tmp_path):
    """A program that answers ``inspect`` with what is in its file ``id``, and counts how often it was asked."""
    program = tmp_path / "podman"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\ntest "$1" = inspect || exit 1\nexec cat {tmp_path}/id\n'
    )
    program.chmod(0o755)
    return program


def held(container):
    """Which processes it holds."""
    return [pid for pid in range(1, 7) if container.holds(pid)]


def test_by_the_file_of_the_id(groups, tmp_path):
    """In every place where engines put containers; nothing before the file is there."""
    container = container_of(["docker", "run", "--rm", f"--cidfile={tmp_path}/id", "image"], {})
    assert held(container) == []
    (tmp_path / "id").write_text(ID)
    assert held(container) == [1, 2, 3]
    (tmp_path / "id").unlink()
    assert held(container) == [1, 2, 3], "the engine removes it with the container"


def test_by_asking_for_the_name(groups, engine, tmp_path):
    """Asked once the ID is needed, and not again once it is known."""
    (tmp_path / "id").write_text(f"{ID}\n")
    container = container_of([str(engine), "run", "--name", "qwen", "image"], {"PATH": "/bin:/usr/bin"})
    assert held(container) == [1, 2, 3]
    assert (tmp_path / "asked").read_text() == "inspect --format {{.Id}} qwen\n"


def test_an_engine_that_does_not_know_the_name_yet(groups, engine, tmp_path):
    """Asked again, but not for every process."""
    (tmp_path / "id").write_text("Error: no such object: qwen\n")
    container = container_of([str(engine), "run", "--name=qwen", "image"], {"PATH": "/bin:/usr/bin"})
    assert held(container) == []
    assert len((tmp_path / "asked").read_text().splitlines()) == 1
    (tmp_path / "id").write_text(ID)
    container._ask_at = float("-inf")
    assert held(container) == [1, 2, 3]


def test_an_engine_that_is_not_there(groups):
    """Is no error."""
    assert not Container(["/nonexistent/docker"], {}, None, "qwen").holds(1)


@pytest.mark.parametrize(
    "command",
    [
        "llama-server --port 1 --name run",
        "docker ps",
        "docker run image",
        "python run --name x",
    ],
)
def test_commands_without_a_container_to_find(command):
    """Most are none, and one without a name cannot be found."""
    assert container_of(command.split(), {}) is None


def test_what_stands_before_the_engine_is_used_to_ask_it():
    """A container of root is root's to ask for."""
    container = container_of(["sudo", "-n", "docker", "container", "run", "--name", "x", "image"], {})
    assert container._engine == ("sudo", "-n", "docker")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("--name=a image", "a"),
        ("--rm -it --gpus all -p 80:80 -p81:81 -itv /a:/b --name a image --name x", "a"),
        ("--rm image --name x", None),
        ("-d -e A=1 image server --name=x", None),
        ("--init --entrypoint server image --cidfile x", None),
        ("--pull=never -- image --name x", None),
        ("--name a --name b image", "b"),
        ("--env --name image --name x", None),
        ("--name", None),
    ],
)
def test_what_stands_behind_the_image_is_not_for_the_engine(groups, engine, tmp_path, options, name):
    """The program in the container has options of its own, whose names are often the same."""
    (tmp_path / "id").write_text(ID)
    container = container_of([str(engine), "run", *options.split()], {"PATH": "/bin:/usr/bin"})
    assert (container is None) == (name is None)
    if container is not None:
        assert held(container) == [1, 2, 3]
        assert (tmp_path / "asked").read_text().endswith(f" {name}\n")
