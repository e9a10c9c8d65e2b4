"""Where the service listens: addresses to sockets and back."""

import ipaddress
import socket


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
