"""Requests from browsers: known host names against DNS rebinding, no changes of state from other sites.

A request with ``Origin``, ``Sec-Fetch-*``, ``Referer`` or a browser's ``User-Agent`` comes from a browser (Fetch
standard; Fetch Metadata). The last two count because browsers leave the others out where it matters: on plain http to a
name that is not localhost, which is just what DNS rebinding uses. Programs send none of them.
"""

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from llama_swap.errors import Reason, RequestError

_MARKS = ("Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")
_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})


def machine_names() -> frozenset[str]:
    """The names under which this machine is reached in its own network, lower case."""
    name = socket.gethostname().lower().rstrip(".")
    short = name.partition(".")[0]
    return frozenset({name, short, f"{short}.local", f"{short}.lan", f"{short}.home.arpa"})


def is_browser(headers: Mapping[str, str]) -> bool:
    """Whether a browser sent these headers."""
    return not headers.keys().isdisjoint(_MARKS) or headers.get("User-Agent", "").startswith("Mozilla/")


def check_browser(
    headers: Mapping[str, str],
    *,
    names: frozenset[str],
    changes_state: bool,
    needs_proof: bool = False,
) -> None:
    """Raise RequestError when a browser's request came under a strange host name, or for another site.

    Args:
        headers: of a request for which :func:`is_browser` holds.
        names: of this machine (:func:`machine_names`) and in ``allowedHosts`` of the configuration, lower case.
        changes_state: the request may start, stop or change something.
        needs_proof: and it is refused unless the browser says that the page behind it is one of ours.
    """
    host = _host_name(headers.get("Host", ""))
    if not (_is_address(host) or _is_known(host, names)):
        rule = "browsers may use an IP address, localhost, this machine's name or a name in allowedHosts"
        raise RequestError(Reason.HOST_UNKNOWN, f"host {host!r} is not known here: {rule}")
    if changes_state and _is_cross_site(headers, host, names, needs_proof=needs_proof):
        page = headers.get("Origin") or headers.get("Referer") or "unknown"
        fix = "add its host to allowedHosts if it is yours"
        raise RequestError(Reason.CROSS_SITE, f"a page of another site ({page!r}) may not do this: {fix}")


def _is_cross_site(headers: Mapping[str, str], host: str, names: frozenset[str], *, needs_proof: bool) -> bool:
    """Whether a page of another site is behind this; what says nothing may be a typed address, which may do most."""
    page = headers.get("Origin") or headers.get("Referer")
    if "Origin" not in headers and (site := headers.get("Sec-Fetch-Site")):
        return site == "cross-site"
    if page is None:
        return needs_proof
    name = _host_name(page.partition("://")[2].partition("/")[0])
    # A page on some other IP address may be anybody's.
    return not name or (name != host and not _is_loopback(name) and not _is_known(name, names))


def _host_name(netloc: str) -> str:
    """Host without port, lower case, without brackets and trailing dot; empty when it cannot be one."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_known(host, frozenset()) or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_known(host: str, names: frozenset[str]) -> bool:
    """Whether a name is one of ours; ``*.lan`` among the names stands for every name below ``lan``."""
    if host in _LOCAL_NAMES or host.endswith(".localhost") or host in names:
        return True
    return any(name.startswith("*.") and host.endswith(name[1:]) for name in names)
