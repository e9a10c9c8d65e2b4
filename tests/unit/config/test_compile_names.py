"""Profiles, selectors and peers as values."""

from llama_swap.config import Filters, Peer, PeerModel, Profile, Selector, Strategy, Timeouts

TEXT = """
models: {a: {cmd: "srv ${PORT}", aliases: [al]}}
profiles:
  work: {description: " at work ", pins: {chat: al, off: ~, gone: ""}}
  home: {pins: {chat: a}}
selectors:
  z: {strategy: pin, targets: [far/x], name: " Z ", description: d, unlisted: true, metadata: {k: [1, 2.50]}}
  b: {strategy: spillover, targets: [a, x], settings: {spillover: 3}}
peers:
  near: {proxy: "http://n/", models: [y, far/x, y]}
  far:
    proxy: https://f/base/
    apiKey: sk
    models: [x, org/y, y]
    filters: {stripParams: "a, b", setParams: {c.d: 1, model: z}, setParamsByID: {far/x: {e: 2}}}
    timeouts: {connect: 1, responseHeader: 2}
"""


def test_profiles(load):
    """In the order of the file; a pin without a target is off."""
    assert list(load(TEXT).profiles.items()) == [
        ("work", Profile("at work", {"chat": "al", "off": None, "gone": None})),
        ("home", Profile("", {"chat": "a"})),
    ]


def test_selectors(load):
    """Sorted by name, with defaults."""
    assert list(load(TEXT).selectors.items()) == [
        ("b", Selector(Strategy.SPILLOVER, ("a", "x"), 3)),
        (
            "z",
            Selector(Strategy.PIN, ("far/x",), name="Z", description="d", unlisted=True, metadata={"k": [1, 2.5]}),
        ),
    ]


def test_peers(load):
    """Each key reaches its field; a peer waits a minute for an answer to begin unless told otherwise."""
    config = load(TEXT)
    assert config.peers["near"] == Peer(
        "near", "http://n", None, ("y", "far/x"), Filters(), Timeouts(response_header_seconds=60)
    )
    assert config.peers["far"] == Peer(
        "far",
        "https://f/base",
        "sk",
        ("x", "org/y", "y"),
        Filters(("a", "b"), {"c.d": 1}, {"far/x": {"e": 2}}),
        Timeouts(connect_seconds=1, response_header_seconds=2),
    )


def test_names_of_peers(load):
    """A bare name means a model if one peer has it; a qualified one goes before a bare one that looks like it."""
    config = load(TEXT)
    far, near = config.peers["far"], config.peers["near"]
    assert config.peer_names == {
        "far/x": PeerModel(far, "x"),
        "far/y": PeerModel(far, "y"),
        "far/org/y": PeerModel(far, "org/y"),
        "near/y": PeerModel(near, "y"),
        "near/far/x": PeerModel(near, "far/x"),
        "x": PeerModel(far, "x"),
        "org/y": PeerModel(far, "org/y"),
    }
    assert all(found.qualified in config.peer_names for found in config.peer_names.values())
    assert config.find_peer_model("y") is None
    assert config.find("far/x") is None


def test_nearest_knows_all_names(load):
    """Also those of selectors and peers."""
    config = load(TEXT)
    assert (config.nearest("far-x"), config.nearest("nearfar/x")) == ("far/x", "near/far/x")
