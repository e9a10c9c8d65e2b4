"""One child process: launch, readiness, output, stop, reap."""

from llama_swap.process.child import ChildProcess
from llama_swap.process.launcher import Launcher
from llama_swap.process.spec import ExitReport, LaunchFailed, LaunchSpec, NotReady

__all__ = ["ChildProcess", "ExitReport", "LaunchFailed", "LaunchSpec", "Launcher", "NotReady"]
