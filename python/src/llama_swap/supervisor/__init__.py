"""The only owner of the scheduler: performs what it decides and tells it what happened."""

from llama_swap.supervisor.instance import Instance
from llama_swap.supervisor.leasing import Lease
from llama_swap.supervisor.ports import Senses
from llama_swap.supervisor.shell import Supervisor

__all__ = ["Instance", "Lease", "Senses", "Supervisor"]
