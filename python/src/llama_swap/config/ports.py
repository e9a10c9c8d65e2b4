"""Ports for models: really free, never one for two, and the same after a reload."""

import errno
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

LAST_PORT = 65535


_TIME_WAIT = "06"
"""The state of a socket in ``/proc/net/tcp`` (include/net/tcp_states.h of Linux)."""


def port_is_free(port: int) -> bool:
    """Whether an upstream may listen on the port, on any address of this machine.

    Binding the wildcard addresses fails if anybody listens on the port, be it on a wildcard or on one address. It may
    also fail for connections in TIME_WAIT that a server left behind which, like llama.cpp's, sets SO_REUSEPORT and not
    SO_REUSEADDR; the next such server is not disturbed by them, so they are looked up and do not count.

    Raises:
        OSError: it cannot be found out (no descriptor is left).
    """
    if _can_bind(socket.AF_INET, "0.0.0.0", port) and _can_bind(socket.AF_INET6, "::", port):  # noqa: S104 - never listens
        return True
    states = set(_socket_states(port))
    return states == {_TIME_WAIT}


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            return False
        if family == socket.AF_INET6 and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            return True  # a machine without IPv6 has nobody who listens on it
        raise  # out of descriptors, say: that tells nothing about the port
    return True


def _socket_states(port: int) -> Iterator[str]:
    """The states of all sockets with this local port; none where the kernel does not tell."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            _, local, _, state, *_ = row.split()
            if int(local.rpartition(":")[2], 16) == port:
                yield state


class PortBook:
    """Remembers which model has which port, so that a reload moves no running model.

    A model keeps its port as long as its ID and the start port stay; its own process, which listens there, is no reason
    to move it. Build one for the life of the service and give it to every load.
    """

    def __init__(
        self,
        is_free: Callable[[int], bool] = port_is_free,
        *,
        given: Mapping[str, tuple[int, int]] = MappingProxyType({}),
        reserved: Iterable[int] = (),
    ) -> None:
        self._is_free = is_free
        self._ports = dict(given)
        self._reserved = frozenset(reserved)

    @property
    def given(self) -> Mapping[str, tuple[int, int]]:
        """Model -> the start port when it was given its port, and that port."""
        return MappingProxyType(self._ports)

    @property
    def reserved(self) -> frozenset[int]:
        """What is never handed out."""
        return self._reserved

    def copy(self) -> "PortBook":
        """One that says the same, for a load in another process."""
        return PortBook(self._is_free, given=self._ports, reserved=self._reserved)

    def take_over(self, loaded: "PortBook", *, since: "PortBook") -> None:
        """Take note of what a load has done that began with ``since``; what was given out here meanwhile stays."""
        for model, port in loaded.given.items():
            before = since.given.get(model)
            if port != before and self._ports.get(model) == before:
                self._ports[model] = port
        self._reserved = loaded.reserved

    def reserve(self, ports: Iterable[int]) -> None:
        """Never hand these out, from now on: the configuration gives them to models by itself, running or not."""
        self._reserved = frozenset(ports)

    def port_for(self, model: str, start: int) -> int:
        """The model's port, a new one at or above ``start`` if it has none, or the start moved, or it is reserved now.

        Raises:
            LookupError: no port from ``start`` on is free.
        """
        known = self._ports.get(model)
        if known is not None and known[0] == start and known[1] not in self._reserved:
            return known[1]
        return self.reassign(model, start)

    def claim(self, model: str, start: int) -> int:
        """The model's port if nobody took it meanwhile, else another free one; to be asked right before a start.

        Raises:
            LookupError: no port from ``start`` on is free.
        """
        port = self.port_for(model, start)
        return port if self._is_free(port) else self.reassign(model, start)

    def reassign(self, model: str, start: int) -> int:
        """Another free port for a model whose port somebody else took.

        Raises:
            LookupError: no port from ``start`` on is free; the model keeps what it had.
        """
        taken = self._reserved.union(port for _, port in self._ports.values())
        for port in range(start, LAST_PORT + 1):
            if port not in taken and self._is_free(port):
                self._ports[model] = (start, port)
                return port
        raise LookupError(f"no free port from {start} to {LAST_PORT}")

    def forget(self, models: Iterable[str]) -> None:
        """Give back the ports of models that are no longer configured and whose processes are gone."""
        for model in models:
            self._ports.pop(model, None)
