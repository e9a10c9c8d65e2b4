"""Who is next in line."""

from typing import Protocol

Rank = tuple[float, float, int]


class Arrival(Protocol):
    """What the order depends on."""

    @property
    def request_id(self) -> int:
        """Breaks ties; IDs grow with time."""

    @property
    def arrived_at(self) -> float:
        """When it began to wait, in seconds."""


def rank(arrival: Arrival, priority: int, max_wait_seconds: float, penalty_seconds: float = 0.0) -> Rank:
    """The place of a waiter in the order of the queue; the smaller goes first.

    Higher priority goes first and ties go by arrival, as in llama-swap. But a point of priority is worth only the
    maximum wait: a waiter overtakes those that have waited up to ``max_wait_seconds`` longer for each point it is
    above them. So the order is fixed from the moment of arrival, and no stream of urgent requests starves a patient
    one for ever. Without a maximum wait priority is absolute. A penalty lets a waiter count as arrived so much later.
    """
    counts_from = arrival.arrived_at + penalty_seconds
    if max_wait_seconds:
        return (0.0, counts_from - priority * max_wait_seconds, arrival.request_id)
    return (-float(priority), counts_from, arrival.request_id)
