"""The only owner of the scheduler: performs what it decides and tells it what happened."""

from llama_swap.supervisor.instance import Instance, Lease
from llama_swap.supervisor.ports import Observer, OnOutput, RunningProcess, Senses, StartsProcesses
from llama_swap.supervisor.shell import Supervisor

__all__ = ["Instance", "Lease", "Observer", "OnOutput", "RunningProcess", "Senses", "StartsProcesses", "Supervisor"]
