"""Addresses of servers."""

import pytest

from llama_swap.config.urls import url_fault


@pytest.mark.parametrize("url", ["http://h", "https://user:pass@h:8080/base/", "HTTP://[::1]:5", "http://10.0.0.1"])
def test_addresses(url):
    """A scheme and a host are enough."""
    assert url_fault(url) is None


@pytest.mark.parametrize(
    "url", ["", "h", "h:80", "ftp://h", "http://", "http://h:x", "http://h?a", "http://h#a", "http://["]
)
def test_no_addresses(url):
    """Whatever cannot have a path appended is none."""
    assert url_fault(url)
