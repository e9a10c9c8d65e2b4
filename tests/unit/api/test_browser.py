"""Requests of browsers: strange hosts, other sites, and what stays possible."""

import pytest

from llama_swap.api.browser import check_browser, is_browser, machine_names
from llama_swap.errors import Reason, RequestError

NAMES = frozenset({"tower", "tower.local"})


def check(headers, *, changes_state=True, allowed=("chat.example", "*.lan")):
    """The reason for a refusal, or None."""
    if not is_browser(headers):
        return None
    try:
        check_browser(headers, names=NAMES | set(allowed), changes_state=changes_state)
    except RequestError as error:
        return error.reason
    return None


def test_programs_are_never_asked_for_their_host():
    """Without browser marks any Host and any request passes: curl and SDKs behind any name."""
    assert check({"Host": "evil.example"}) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9292",
        "[::1]:9292",
        "192.168.1.5",
        "localhost:9292",
        "app.localhost",
        "TOWER.local",
        "chat.example:80",
        "tower.lan",
        "a.b.lan:1",
    ],
)
def test_known_hosts_pass(host):
    """Addresses, localhost, this machine's names and allowedHosts may be used by browsers."""
    assert check({"Host": host, "Sec-Fetch-Site": "same-origin"}) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evillan", "lan", "", "[bad"]
)
@pytest.mark.parametrize("changes_state", [True, False])
def test_rebound_name_is_refused_even_for_reading(host, changes_state):
    """A name that an attacker's DNS points here gets nothing, not even the list of models."""
    assert check({"Host": host, "Sec-Fetch-Site": "same-origin"}, changes_state=changes_state) is Reason.HOST_UNKNOWN


@pytest.mark.parametrize(
    "marks",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://6.6.6.6"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "none"},
    ],
)
def test_other_sites_may_read_but_change_nothing(marks):
    """A page of another site cannot start, stop or use a model."""
    headers = {"Host": "127.0.0.1:9292", **marks}
    assert check(headers) is Reason.CROSS_SITE
    assert check(headers, changes_state=False) is None


@pytest.mark.parametrize("origin", ["http://[", "http://a]b", "\udcff", "://", "http://"])
def test_broken_origins_are_other_sites(origin):
    """What cannot be read is not trusted, and no error of ours."""
    assert check({"Host": "127.0.0.1", "Origin": origin}) is Reason.CROSS_SITE


BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}


def test_browser_is_recognised_where_it_says_least():
    """On plain http a rebound name comes without Origin and Sec-Fetch: the User-Agent or a Referer gives it away."""
    for marks in (BROWSER, {"Referer": "http://evil.example/"}):
        assert check({"Host": "evil.example", **marks}, changes_state=False) is Reason.HOST_UNKNOWN


def test_referer_tells_the_site_where_nothing_else_does():
    """A page of another site betrays itself by its Referer; our own pages may go on."""
    assert check({"Host": "192.168.1.5", **BROWSER, "Referer": "http://evil.example/x"}) is Reason.CROSS_SITE
    assert check({"Host": "192.168.1.5", **BROWSER, "Referer": "http://192.168.1.5:9292/ui/"}) is None


def test_typed_address_may_do_what_an_image_could_not_hide():
    """Without any trace a browser may open a page, but not what needs proof of intent."""
    headers = {"Host": "192.168.1.5", **BROWSER}
    assert check(headers) is None
    with pytest.raises(RequestError):
        check_browser(headers, names=NAMES, changes_state=True, needs_proof=True)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "http://tower:3000",
        "https://chat.example",
        "http://192.168.1.5:1",
    ],
)
def test_own_pages_may_change_state(origin):
    """A chat page on this machine, on the same address, or of an allowed host may use the models."""
    assert check({"Host": "192.168.1.5:9292", "Origin": origin}) is None


def test_machine_names_hold_the_host_name():
    """The names of this machine are lower case and contain its mDNS name."""
    names = machine_names()
    assert all(name == name.lower() for name in names)
    assert any(name.endswith(".local") for name in names)
