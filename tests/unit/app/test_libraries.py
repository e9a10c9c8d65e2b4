"""Imports that would do more than they should."""

import os
import subprocess
import sys

from llama_swap.app.libraries import lean


def test_the_environment_is_as_before(monkeypatch):
    """Models inherit it: what somebody has set stays, what nobody has set is not there."""
    monkeypatch.setenv("SSL_CERT_FILE", "/mine")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    before = dict(os.environ)
    with lean():
        assert os.environ["SSL_CERT_FILE"] == os.environ["SSL_CERT_DIR"] == os.devnull
    assert dict(os.environ) == before


def test_contexts_made_by_aiohttp_trust_nobody():
    """They refuse every server instead of trusting any; ours, made later, trust whom the machine does."""
    code = """
import ssl
from llama_swap.app.libraries import lean
with lean():
    from aiohttp import connector
made = connector._SSL_CONTEXT_VERIFIED
assert made.verify_mode is ssl.CERT_REQUIRED and made.check_hostname
assert made.cert_store_stats()["x509"] == 0
trusted = ssl.create_default_context().cert_store_stats()["x509"]
before = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
before.set_default_verify_paths()
assert trusted == before.cert_store_stats()["x509"]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
