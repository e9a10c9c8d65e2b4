"""How the HTTP server of a URL is reached: at which addresses, at which port, and whether its certificate counts."""

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import SplitResult

if TYPE_CHECKING:
    import ssl

DEFAULT_PORTS = {"http": 80, "https": 443}

_LOCALHOST = "localhost"


def addresses(host: str) -> tuple[str, ...]:
    """What to connect to, in this order; both loopbacks by number, for a resolver would cost a thread each time."""
    return ("127.0.0.1", "::1") if host == _LOCALHOST else (host,)


def port(url: SplitResult) -> int:
    """The port of an http or https URL."""
    return url.port or DEFAULT_PORTS[url.scheme]


def local_port(url: SplitResult) -> int | None:
    """The port of this machine that a URL names; None where it names another machine, or no port."""
    return url.port if url.hostname and _is_this_machine(url.hostname) else None


def tls(url: SplitResult) -> "ssl.SSLContext | None":
    """The settings of TLS towards a server; None for plain HTTP.

    A certificate is checked unless the server is on this machine: a local server has a self-signed one at best, and who
    can take its port can also read its key.
    """
    if url.scheme != "https":
        return None
    import ssl  # noqa: PLC0415 - heavy; whoever only reads a configuration has no use for it

    context = ssl.create_default_context()
    if _is_this_machine(url.hostname or _LOCALHOST):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_this_machine(host: str) -> bool:
    if host == _LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
