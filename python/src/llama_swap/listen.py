"""Where the service listens: addresses to sockets and back."""

import ipaddress
import resource
import socket
import ssl
from pathlib import Path

# More than any desk needs, and small enough for programs that loop over all of them.
_MOST_DESCRIPTORS = 65536
# A client's own connection and the one to its upstream; pipes, sockets and files of processes and the service itself.
_DESCRIPTORS_OF_A_CLIENT = 2
_RESERVED_DESCRIPTORS = 128
_FEWEST_CONNECTIONS = 16


def bind(listen: str) -> list[socket.socket]:
    """Listening sockets for ``host:port``; raises ValueError or OSError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError("write host:port, for example 127.0.0.1:9292 or :9292 for every interface")
    host = host.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if not host:
        # One socket for both families where IPv6 exists.
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        dual = family == socket.AF_INET6
        return [socket.create_server(("", int(port)), family=family, backlog=1024, dualstack_ipv6=dual)]
    return [
        socket.create_server(address[:2], family=family, backlog=1024)
        for family, address in {(family, address[:2]) for family, _, _, _, address in found}
    ]


def address_text(listener: socket.socket) -> str:
    """The address of a listening socket as a client writes it."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine reaches a listening socket."""
    if listener.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def tls_context(cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext | None:
    """How to serve HTTPS; None for plain HTTP.

    Raises:
        ValueError: only one of the two is given.
        OSError: a file cannot be read, or is no certificate or key (ssl.SSLError).
    """
    if cert_file is None and key_file is None:
        return None
    if cert_file is None or key_file is None:
        raise ValueError("TLS needs both --tls-cert-file and --tls-key-file")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert_file, key_file)
    return context


def most_connections() -> int:
    """How many clients to accept at once, so that descriptors are left for upstreams and processes."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST_CONNECTIONS, (soft - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_OF_A_CLIENT)


def raise_descriptor_limit() -> int:
    """Use as many file descriptors as we may: every client, upstream and process takes some; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
