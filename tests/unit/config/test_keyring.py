"""All keys of a configuration."""

import pytest

PEER = "peers: {{p: {{proxy: 'http://h', models: [x], apiKey: {}}}}}"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("sk-1", "sk-1"),
        ("''", None),
        ("~", None),
        ("${env.KEY}", "sk-env"),
        ("{file: one}", "sk-one"),
        ("{credential: one}", "sk-one"),
    ],
)
def test_key_of_a_peer(load, tmp_path, written, key):
    """A peer has one key, from anywhere, or none."""
    (tmp_path / "one").write_text("sk-one\n")
    config = load(PEER.format(written), env={"KEY": "sk-env", "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert config.peers["p"].api_key == key
    assert "sk-" not in repr(config.peers["p"])


def test_one_key_for_one_peer(refused, tmp_path):
    """Which of two a peer is to get cannot be known."""
    (tmp_path / "two").write_text("sk-1\nsk-2\n")
    problem = refused(PEER.format("{file: two}"))["peers.p.apiKey"]
    assert "here are 2" in problem.rule
    assert "sk-" not in str(problem)


def test_a_wrong_key_is_not_quoted(refused):
    """Nor what was written in the configuration itself."""
    problem = refused(PEER.format("'sk secret'"))["peers.p.apiKey"]
    assert "secret" not in str(problem)
