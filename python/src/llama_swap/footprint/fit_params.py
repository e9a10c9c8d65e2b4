"""Ask llama.cpp itself: ``llama-fit-params --fit-print on`` goes through the motions of loading without the memory.

It prints a line for each device and one for the host, ``NAME MODEL CONTEXT COMPUTE`` in MiB (``common_fit_print`` in
common/fit.cpp). It creates a context on the devices that it sees, for about a second, as the server would. It knows
fewer options than the server and refuses the others, so it gets only those that bear on memory.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.files import Invocation
from llama_swap.footprint.learned import AskedDevice

TOOL = "llama-fit-params"
TIME_LIMIT_SECONDS = 20.0
MAX_OUTPUT_BYTES = 1 << 16
LOWEST_PRIORITY = 19
HOST_NAME = "Host"

_MIB = 1 << 20
_LINE = re.compile(r"(\S+)\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\s*")
_WITH_VALUE = {
    *("-b", "--batch-size", "-ub", "--ubatch-size", "-fa", "--flash-attn", "-ctk", "--cache-type-k"),
    *("-ctv", "--cache-type-v", "-ngl", "--gpu-layers", "--n-gpu-layers", "-ncmoe", "--n-cpu-moe", "-ncffn"),
    *("--n-cpu-ffn", "-ot", "--override-tensor", "-dev", "--device", "-sm", "--split-mode", "-ts", "--tensor-split"),
    *("-mg", "--main-gpu", "--override-kv", "-lzm", "--lazy-mode"),
}
_WITHOUT_VALUE = {
    *("-nkvo", "--no-kv-offload", "--swa-full", "-cmoe", "--cpu-moe", "-nr", "--no-repack", "--no-host"),
    "--no-op-offload",
}
_FIRST_DEVICE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")


def find_tool(invocation: Invocation) -> Path | None:
    """The tool beside the model's llama-server, or on its PATH."""
    path = invocation.command.env.get("PATH", os.defpath)
    server = shutil.which(invocation.command.program, path=path)
    if server is not None:
        for folder in dict.fromkeys((Path(server).parent, Path(server).resolve().parent)):
            if (beside := shutil.which(str(folder / TOOL))) is not None:
                return Path(beside)
    found = shutil.which(TOOL, path=path)
    return Path(found) if found else None


def arguments_for(invocation: Invocation, *, several: bool) -> tuple[str, ...]:
    """The tool's command line for a model.

    Args:
        invocation: the server's.
        several: the model keeps something for each sequence, so that their number matters; where the sequences share
            one cache it does not, and the tool knows no shared one.
    """
    options = invocation.options
    context = options.ctx_size or options.ctx_per_slot * options.sequences
    sequences = options.sequences if several or not options.is_unified else 1
    return (
        *("--model", str(invocation.model)),
        *(("--ctx-size", str(context)) if context else ()),
        *("--parallel", str(sequences)),
        *_passed(invocation.command.arguments),
        *("--fit", "off", "--fit-print", "on"),
    )


def _passed(arguments: tuple[str, ...]) -> list[str]:
    passed: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        name = word.replace("_", "-") if word.startswith("--") else word
        if name in {"-fa", "--flash-attn"} and (not words or words[0].startswith("-")):
            passed += [name, "on"]
        elif name in _WITH_VALUE and words:
            passed += [name, words.pop(0)]
        elif name in _WITHOUT_VALUE:
            passed.append(name)
    return passed


def environment_for(env: Mapping[str, str], *, chosen_for_it: bool) -> dict[str, str]:
    """The tool's environment; where the scheduler chooses the devices it shall count as for one."""
    first = {name: "0" for name in _FIRST_DEVICE if name not in env} if chosen_for_it else {}
    return {**env, **first}


def parse_answer(output: bytes) -> tuple[AskedDevice, ...]:
    """The devices and, last, the host.

    Raises:
        NotUnderstoodError: if this is no such answer.
    """
    found = []
    for line in output.decode("utf-8", "replace").splitlines():
        if match := _LINE.fullmatch(line.strip()):
            # It rounds down.
            sizes = [(int(text) + 1) * _MIB if int(text) else 0 for text in match.groups()[1:]]
            found.append(AskedDevice(match[1], *sizes))
    if not found or found[-1].name != HOST_NAME:
        raise NotUnderstoodError(f"the answer of {TOOL} is not understood")
    return tuple(found)


class Asking:
    """One run of the tool, in a thread; :meth:`stop` ends it from any other."""

    def __init__(self, command: tuple[str, ...], env: Mapping[str, str], limit: float = TIME_LIMIT_SECONDS) -> None:
        self._command = command
        self._env = env
        self._limit = limit
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def run(self) -> bytes:
        """What it printed.

        Raises:
            NotUnderstoodError: if it failed, took too long or was stopped.
        """
        with self._lock:
            if self._is_stopped:
                raise NotUnderstoodError(f"{TOOL} was stopped")
            try:
                # In our session, because zombies of foreign ones are taken for orphans; in a group that can be ended.
                process = subprocess.Popen(
                    self._command,
                    env=dict(self._env),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    process_group=0,
                )
            except OSError as error:
                raise NotUnderstoodError(f"{TOOL} cannot be started: {error.strerror}") from error
            self._process = process
        try:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
            with process.stdout as pipe:  # type: ignore[union-attr]  # it was asked for
                output = self._read(process, pipe)
        finally:
            self.stop()
            code = process.wait()
        if code != 0:
            raise NotUnderstoodError(f"{TOOL} failed with exit status {code}")
        return output

    def stop(self) -> None:
        """End it, if it still runs."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None and self._process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self, process: subprocess.Popen[bytes], pipe: IO[bytes]) -> bytes:
        """Everything until it ends, within the limits of time and size."""
        deadline = time.monotonic() + self._limit
        output = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while selector.select(max(deadline - time.monotonic(), 0)):
                piece = os.read(pipe.fileno(), MAX_OUTPUT_BYTES)
                output += piece
                if len(output) > MAX_OUTPUT_BYTES:
                    raise NotUnderstoodError(f"{TOOL} says too much")
                if not piece:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(max(deadline - time.monotonic(), 0))
                        return bytes(output)
                    break
        raise NotUnderstoodError(f"{TOOL} did not answer within {self._limit:g} s")
