"""Who listens on a port: a child whose port somebody else has can never become ready, however well that one answers."""

import os
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llama_swap.process.procfs import every_pid, program_of, read_stat, socket_inodes

_TCP_LISTEN = 10  # include/net/tcp_states.h
_NETLINK_SOCK_DIAG = 4  # include/uapi/linux/netlink.h
_SOCK_DIAG_BY_FAMILY = 20  # include/uapi/linux/sock_diag.h
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI")  # inet_diag_req_v2 up to its socket ID: family, protocol, extensions, states
_SOCKET_ID_BYTES = 48  # inet_diag_sockid, which begins with the source port
_INODE_OFFSET = 4 + _SOCKET_ID_BYTES + 16  # in inet_diag_msg, after expires, rqueue, wqueue, uid


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that listens on a port."""

    pid: int
    program: str


def foreign_listener(port: int, *, own: Collection[int], before_ticks: int) -> Listener | None:
    """The process outside our child that has the port and was there before it.

    A later one is no rival but most likely a helper that the child had started for it (docker-proxy). What cannot be
    determined, such as a process of another user, counts as none.

    Args:
        port: a TCP port of this machine.
        own: the process IDs of the child and everything it started.
        before_ticks: when the child started, see :class:`llama_swap.process.procfs.ProcessStat`.
    """
    inodes = listening_inodes(port)
    for pid in own:
        inodes -= socket_inodes(pid)
    if not inodes:
        return None
    for pid in every_pid():
        if pid in own or not inodes & socket_inodes(pid):
            continue
        stat = read_stat(pid)
        if stat is not None and stat.start_ticks < before_ticks:
            return Listener(pid, program_of(pid))
    return None


def listening_inodes(port: int) -> set[int]:
    """The sockets that listen on a port, on any address, in our network namespace."""
    try:
        return {inode for family in (socket.AF_INET, socket.AF_INET6) for inode in _ask_kernel(family, port)}
    except OSError:  # no inet_diag in the kernel, or no netlink in our sandbox
        return inodes_from_tables(port)


def _ask_kernel(family: int, port: int) -> Iterator[int]:
    """The inodes by sock_diag(7): about 0.1 ms, where the tables of /proc take 20 on a machine with many connections.

    Raises:
        OSError: the kernel does not answer this.
    """
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << _TCP_LISTEN)
    request += struct.pack("!H", port).ljust(_SOCKET_ID_BYTES, b"\0")
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1)  # the kernel answers at once; a sandbox that emulates it may not
        netlink.send(header + request)
        while True:
            for kind, message in _messages(netlink.recv(1 << 16)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    raise OSError("sock_diag refused")
                if struct.unpack_from("!H", message, 4)[0] == port:
                    yield struct.unpack_from("=I", message, _INODE_OFFSET)[0]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The netlink messages of one datagram: type and payload."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def inodes_from_tables(port: int, net: Path | None = None) -> set[int]:
    """The same from ``/proc/net/tcp`` and ``tcp6`` (proc_net_tcp.rst); empty where these are hidden."""
    inodes: set[int] = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            rows = ((net or Path(f"/proc/{os.getpid()}/net")) / table).read_text().splitlines()[1:]
            for fields in map(str.split, rows):
                if int(fields[3], 16) == _TCP_LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(int(fields[9]))
    return inodes
