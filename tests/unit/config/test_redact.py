"""What is taken for a secret."""

import pytest

from llama_swap.config.redact import looks_secret, redact_argv, redact_text


@pytest.mark.parametrize(
    "name",
    [
        "--api-key",
        "OPENAI_API_KEY",
        "apikey",
        "HF_TOKEN",
        "--hf-token",
        "-hft",
        "DB_PASSWORD",
        "client_secret",
        "ACCESS_KEYS",
    ],
)
def test_secret_names(name):
    """Names that end like those of keys, tokens and passwords."""
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name", ["--max-tokens", "--api-key-file", "--tokenizer", "KEYBOARD", "--keep", "PATH", "--n-predict"]
)
def test_other_names(name):
    """Counts of tokens and names of files are none."""
    assert not looks_secret(name)


def test_arguments():
    """The value is hidden whether it follows or is joined, and whatever it looks like."""
    argv = ("x", "--api-key", "--odd", "--hf-token=a=b", "--token", "t", "u", "--max-tokens", "5", "api-key", "v")
    assert redact_argv(argv) == (
        *("x", "--api-key", "REDACTED", "--hf-token=REDACTED", "--token", "REDACTED"),
        *("u", "--max-tokens", "5", "api-key", "v"),
    )


def test_a_hidden_value_hides_nothing_more():
    """A value that looks like a flag for a secret is only a value."""
    assert redact_argv(("--api-key", "--token", "x")) == ("--api-key", "REDACTED", "x")


def test_text():
    """The same in a text that is not split yet."""
    assert redact_text("srv --api-key s1\n --hf-token=s2 -c 5 --key-x k") == (
        "srv --api-key REDACTED\n --hf-token=REDACTED -c 5 --key-x k"
    )
