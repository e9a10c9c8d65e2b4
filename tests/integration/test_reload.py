"""Changing the configuration while requests run."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor


def models_listed(service):
    """The IDs of the list of models."""
    return sorted(row["id"] for row in service.http.get("/v1/models").json()["data"])


def together(*models):
    """A group whose members run side by side."""
    return {"all": {"members": list(models), "swap": False}}


def test_unchanged_model_keeps_process_and_stream(service):
    """A reload that adds a model before it in the order leaves pid, port and stream of the other alone."""
    service.write({"models": {"b": service.model()}, "groups": together("b")})
    service.start()
    pid = service.echo("b")["pid"]
    with service.stream("b", fake={"chunks": 10, "chunk_delay": 0.1}) as stream:
        lines = stream.iter_lines()
        next(lines)
        service.write({"models": {"a": service.model(), "b": service.model(ttl=99)}, "groups": together("a", "b")})
        service.process.send_signal(signal.SIGHUP)
        service.wait_until(lambda: models_listed(service) == ["a", "b"])
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert service.echo("b")["pid"] == pid
    assert service.http.get("/running").json()["running"][0]["ttl"] == 99
    assert service.echo("a")["name"] == "a"


def test_changed_model_finishes_its_stream_and_stops_before_the_new_one_starts(service):
    """The old process drains; the next request gets the new command, never two at once."""
    service.write({"models": {"a": service.model()}})
    service.start()
    service.echo("a")
    with ThreadPoolExecutor(1) as pool, service.stream("a", fake={"chunks": 8, "chunk_delay": 0.1}) as stream:
        lines = stream.iter_lines()
        next(lines)
        service.write({"models": {"a": service.model("--say new"), "z": service.model()}})
        service.process.send_signal(signal.SIGHUP)
        service.wait_until(lambda: models_listed(service) == ["a", "z"])
        after = pool.submit(service.echo, "a")
        assert [line for line in lines if line][-1] == "data: [DONE]"
        assert after.result()["pid"] == service.journal("start")[1]["pid"]
    assert service.journal("start")[1]["t"] >= service.journal("exit")[0]["t"]


def test_preload_that_a_reload_adds_is_loaded(service):
    """A name that is new in the list counts at once, as in llama-swap."""
    service.write({"models": {"a": service.model(), "b": service.model()}, "groups": together("a", "b")})
    service.start()
    hooks = {"on_startup": {"preload": ["b"]}}
    service.write(
        {"models": {"a": service.model(), "b": service.model()}, "groups": together("a", "b"), "hooks": hooks}
    )
    service.process.send_signal(signal.SIGHUP)
    service.wait_until(lambda: service.http.get("/running").json()["running"][:1])
    assert service.wait_until(lambda: service.states() == {"b": "ready"})


def test_broken_file_keeps_the_old_configuration(service):
    """The old configuration stays in force and the log names file and line."""
    service.write({"models": {"a": service.model()}})
    service.start()
    pid = service.echo("a")["pid"]
    for number, text in enumerate(["models: [", "modles: {}\n", "models:\n  x: {cmd: sleep 1}\n"], 1):
        service.write(text)
        service.process.send_signal(signal.SIGHUP)
        service.wait_until(lambda: len(refused_files(service)) == number)  # noqa: B023 - called in this round only
        assert "config.yaml:" in refused_files(service)[-1]
        assert service.echo("a")["pid"] == pid
    service.write({"models": {"a": service.model(), "b": service.model()}})
    service.process.send_signal(signal.SIGHUP)
    service.wait_until(lambda: models_listed(service) == ["a", "b"])


def refused_files(service):
    """What was logged of reloads that were refused."""
    return [line for line in service.output().splitlines() if "configuration not reloaded" in line]


def test_same_length_edit_with_an_old_time_is_noticed(service):
    """--watch-config goes by content: size and modification time may lie."""
    service.write({"models": {"name-one": service.model()}})
    service.start("--watch-config")
    before = service.config_path.stat()
    service.config_path.write_text(service.config_path.read_text().replace("name-one", "name-two"))
    os.utime(service.config_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert service.config_path.stat().st_size == before.st_size
    service.wait_until(lambda: models_listed(service) == ["name-two"])


def test_swapped_symlink_is_noticed(service):
    """NixOS exchanges the symlink above the file, not the file."""
    for generation, name in (("one", "a"), ("two", "b")):
        folder = service.directory / generation
        folder.mkdir()
        service.config_path = folder / "config.yaml"
        service.write({"models": {name: service.model()}})
    link = service.directory / "current"
    link.symlink_to("one")
    service.config_path = link / "config.yaml"
    service.start("--watch-config")
    new = service.directory / "current.new"
    new.symlink_to("two")
    new.replace(link)
    assert service.wait_until(lambda: models_listed(service) == ["b"])
