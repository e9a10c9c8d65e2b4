"""llama-fit-params: what it is asked, how its answer is read, and that it cannot hold anybody up."""

import os
import threading

import pytest

from llama_swap.footprint.facts import ModelFacts, NotUnderstoodError
from llama_swap.footprint.files import read_invocation
from llama_swap.footprint.fit_params import (
    MAX_OUTPUT_BYTES,
    Asking,
    arguments_for,
    environment_for,
    find_tool,
    parse_answer,
)
from llama_swap.footprint.learned import AskedDevice

MIB = 1 << 20


@pytest.fixture
def model(tmp_path):
    """A file to name."""
    path = tmp_path / "m.gguf"
    path.touch()
    return path


def invocation(program, *arguments, **env):
    """A command, read."""
    return read_invocation(ModelFacts("m", (str(program), *map(str, arguments)), env))


def script(folder, text):
    """A program."""
    path = folder / "llama-fit-params"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_tool_beside_the_server_is_the_right_one(server, model):
    """It is of the same build."""
    tool = script(server.parent, "")
    assert find_tool(invocation(server, "-m", model, PATH="/nowhere")) == tool


def test_the_tool_behind_a_link_is_found(server, model, tmp_path):
    """As in a profile of Nix."""
    tool = script(server.parent, "")
    (tmp_path / "profile").mkdir()
    link = tmp_path / "profile" / "llama-server"
    link.symlink_to(server)
    assert find_tool(invocation(link, "-m", model, PATH="/nowhere")) == tool


def test_else_it_is_looked_for_on_the_path(model, tmp_path):
    """The one that the child would see."""
    tool = script(tmp_path, "")
    assert find_tool(invocation("/gone/llama-server", "-m", model, PATH=str(tmp_path))) == tool
    assert find_tool(invocation("/gone/llama-server", "-m", model, PATH="/nowhere")) is None


def test_only_what_it_knows_is_passed(model):
    """It refuses the server's own options."""
    asked = invocation(
        *("llama-server", "-m", model, "--port", "1", "--jinja", "-c", "8192", "-np", "2", "-ngl", "99", "-fa"),
        *("--n_cpu_moe", "3", "-ot", "exps=CPU", "--api-key", "s", "--mmproj", model, "-nkvo", "--metrics"),
    )
    assert arguments_for(asked, several=True) == (
        *("--model", str(model), "--ctx-size", "8192", "--parallel", "2", "-ngl", "99", "-fa", "on"),
        *("--n-cpu-moe", "3", "-ot", "exps=CPU", "-nkvo", "--fit", "off", "--fit-print", "on"),
    )


@pytest.mark.parametrize(
    ("arguments", "several", "sequences"),
    [((), True, "4"), ((), False, "1"), (("-np", "3"), False, "3"), (("-np", "3", "-kvu"), False, "1")],
)
def test_it_knows_no_shared_cache(model, arguments, several, sequences):
    """One sequence takes as much as several that share, unless the model keeps something for each."""
    found = arguments_for(invocation("llama-server", "-m", model, *arguments), several=several)
    assert found[found.index("--parallel") + 1] == sequences


def test_it_counts_for_one_device_where_the_scheduler_chooses():
    """Else for those that the command sees."""
    assert environment_for({"A": "1"}, chosen_for_it=True)["CUDA_VISIBLE_DEVICES"] == "0"
    assert "CUDA_VISIBLE_DEVICES" not in environment_for({"A": "1"}, chosen_for_it=False)
    assert environment_for({"CUDA_VISIBLE_DEVICES": "3"}, chosen_for_it=True)["CUDA_VISIBLE_DEVICES"] == "3"


def test_its_answer_is_read():
    """Lines of log around it do not matter; it rounds down, so each figure is one more."""
    answer = b"main: printing estimated memory\nCUDA0 4685 1024 258 \nCUDA1 0 0 0 \nHost 281 0 24 \n"
    assert parse_answer(answer) == (
        AskedDevice("CUDA0", 4686 * MIB, 1025 * MIB, 259 * MIB),
        AskedDevice("CUDA1", 0, 0, 0),
        AskedDevice("Host", 282 * MIB, 0, 25 * MIB),
    )


@pytest.mark.parametrize(
    "answer",
    [b"", b"-c 4096 -ngl 49", b"CUDA0 1 2 3", b"Host 1 2", b"Host -1 2 3", b"Host 1 2 99999999999", b"\xff\xfe"],
)
def test_another_answer_is_told(answer):
    """As of an older version, which prints arguments."""
    with pytest.raises(NotUnderstoodError, match="is not understood"):
        parse_answer(answer)


def test_it_is_run(tmp_path):
    """With nothing to read, at the lowest priority, in our session and a group of its own."""
    # Its priority falls when it runs already.
    text = 'cat; until [ "$(nice)" = 19 ]; do :; done; echo "$LANGUAGE $(ps -o sid= $$) $$ $(ps -o pgid= $$)" 2>&1'
    output = Asking((str(script(tmp_path, text)),), {"PATH": os.environ["PATH"], "LANGUAGE": "x"}).run()
    words = output.decode().split()
    assert words[0] == "x"
    if len(words) == 4:  # a ps is installed
        assert int(words[1]) == os.getsid(0)
        assert words[2] == words[3]


@pytest.mark.parametrize(
    ("text", "limit", "words"),
    [
        ("exit 3", 60.0, "exit status 3"),
        ("sleep 100", 0.2, "within 0.2 s"),
        ("exec >&-; sleep 100", 0.2, "within 0.2 s"),
        (f"head -c {MAX_OUTPUT_BYTES * 3} /dev/zero", 60.0, "too much"),
        ("kill -9 $$", 60.0, "exit status -9"),
    ],
)
def test_its_failures_are_told(tmp_path, text, limit, words):
    """Whatever it does, it ends, and everything that it started."""
    tool = script(tmp_path, f"echo $$ > {tmp_path}/pid; {text}")
    with pytest.raises(NotUnderstoodError, match=words):
        Asking((str(tool),), {"PATH": os.environ["PATH"]}, limit).run()
    if (tmp_path / "pid").exists() and (pid := (tmp_path / "pid").read_text().strip()):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_tool_that_cannot_be_started_is_told(tmp_path):
    """As one for another machine."""
    path = tmp_path / "llama-fit-params"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    with pytest.raises(NotUnderstoodError, match="cannot be started"):
        Asking((str(path),), {}).run()


def test_it_can_be_stopped_from_another_thread(tmp_path):
    """When nobody waits for the answer any more."""
    os.mkfifo(tmp_path / "started")
    asking = Asking((str(script(tmp_path, f"echo > {tmp_path}/started; sleep 100")),), {"PATH": os.environ["PATH"]})
    errors = []

    def ask():
        try:
            asking.run()
        except NotUnderstoodError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    (tmp_path / "started").read_text()
    asking.stop()
    thread.join(60)
    assert [str(error) for error in errors] == ["llama-fit-params failed with exit status -9"]


def test_one_that_was_stopped_before_does_not_start(tmp_path):
    """A stop that comes too early counts."""
    asking = Asking((str(script(tmp_path, f"touch {tmp_path}/ran")),), {"PATH": os.environ["PATH"]})
    asking.stop()
    with pytest.raises(NotUnderstoodError, match="stopped"):
        asking.run()
    assert not (tmp_path / "ran").exists()
