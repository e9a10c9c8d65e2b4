"""Libraries that do more when they are imported than a start needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Where OpenSSL looks for the certificates that it trusts (SSL_CTX_set_default_verify_paths(3)).
_TRUSTED = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def lean() -> Iterator[None]:
    """Import aiohttp in here, before there are threads.

    It makes two TLS contexts for its client, each with all certificates that the machine trusts: 40 ms and 2 MB. Made
    in here they trust nobody. The service uses that client only where it checks no certificate, and has contexts of its
    own for everything else (:mod:`llama_swap.dial`).
    """
    before = {name: os.environ.get(name) for name in _TRUSTED}
    os.environ |= dict.fromkeys(_TRUSTED, os.devnull)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value
