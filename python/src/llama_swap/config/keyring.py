"""All API keys of a configuration, from wherever they stand, and what is wrong with them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from llama_swap.config.apikeys import KeyFileError, KeyFrom, read_keys
from llama_swap.config.names import Finding
from llama_swap.config.problems import KeyPath
from llama_swap.config.schema import ConfigFile
from llama_swap.config.schema_apikeys import EXACTLY_ONE, FORMS
from llama_swap.config.tree import Node, place_of
from llama_swap.config.values import Caller


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys themselves.

    Attributes:
        clients: clients must send one of these; none is no authentication. Each with whose it is.
        peers: ID of a peer -> the key it is sent; a peer that is to get none is not in it.
        findings: keys that are none.
        unread: sources of keys that cannot be read, at least not by whoever loads this.
    """

    clients: Mapping[str, Caller] = field(repr=False)
    peers: Mapping[str, str] = field(repr=False)
    findings: tuple[Finding, ...] = ()
    unread: tuple[Finding, ...] = ()


@dataclass(slots=True)
class _Reader:
    """Reads sources one after another and notes what is wrong with them."""

    root: Node
    env: Mapping[str, str]
    findings: list[Finding] = field(default_factory=list)
    unread: list[Finding] = field(default_factory=list)

    def keys(self, source: str | KeyFrom, path: KeyPath) -> tuple[str, ...]:
        """The keys of one entry; none if there is something wrong with it."""
        if isinstance(source, str):
            keys: tuple[str, ...] = (source,)
        else:
            try:
                keys = read_keys(source, place_of(self.root, path).file.parent, self.env)
            except KeyFileError as error:
                self.unread.append(Finding(path, str(error), "see that the service may read it"))
                return ()
        found = [finding for key in keys for finding in _faults(key, path)]
        self.findings += found[:1]
        return () if found else keys


def collect_keys(file: ConfigFile, root: Node, env: Mapping[str, str]) -> KeyRing:
    """Read every key that the file names.

    Args:
        file: what was checked.
        root: what it was made of, for the places in it.
        env: the environment, for systemd's directory of credentials.
    """
    reader = _Reader(root, env)
    clients = _clients(file, reader)
    peers = {}
    for name, peer in file.peers.items():
        path = ("peers", name, "apiKey")
        keys = reader.keys(peer.api_key, path) if peer.api_key else ()
        if len(keys) > 1:
            reader.findings.append(Finding(path, f"a peer is sent one key, and here are {len(keys)}", "keep one"))
        elif keys:
            peers[name] = keys[0]
    return KeyRing(clients, peers, tuple(reader.findings), tuple(reader.unread))


def _clients(file: ConfigFile, reader: _Reader) -> dict[str, Caller]:
    """Every key that clients may send, with whose it is; a key without a name is called after its place."""
    clients: dict[str, Caller] = {}
    for index, entry in enumerate(file.api_keys):
        path = ("apiKeys", index)
        if entry.source is None:
            reader.findings.append(Finding(path, EXACTLY_ONE, FORMS, (path,)))
            continue
        keys = reader.keys(entry.source, path)
        for number, key in enumerate(keys, start=1):
            place = f"apiKeys[{index}]" + (f"#{number}" if len(keys) > 1 else "")
            caller = Caller(entry.name.strip() or place, entry.priority)
            known = clients.setdefault(key, caller)
            if (entry.name, entry.priority) != ("", 0) and known != caller:
                rule = f"a key of it is in {known.name} too, with another name or priority"
                reader.findings.append(Finding(path, rule, "keep one of them"))
    return clients


def _faults(key: str, path: KeyPath) -> Iterator[Finding]:
    if not key:
        yield Finding(path, "empty api key found in apiKeys", "remove it, or set the variable it is from")
    elif any(char.isspace() or not char.isprintable() for char in key):
        yield Finding(path, "api key cannot contain spaces", "one key on each line of a file of keys")
