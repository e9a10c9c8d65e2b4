"""The composition root: configuration -> objects -> task group -> signals -> service manager.

The only place that builds things. Start-up and shutdown are nested contexts: what is opened last is closed first.
"""

import sys

from llama_swap.app.options import ServeOptions
from llama_swap.app.service import Service
from llama_swap.app.sources import Sources
from llama_swap.config import ConfigError
from llama_swap.listen import bind, raise_descriptor_limit, tls_context
from llama_swap.notify import listen_sockets
from llama_swap.proxy import front

__all__ = ["ServeOptions", "serve"]


def serve(options: ServeOptions) -> int:
    """Run the service until it is told to stop; returns the exit status."""
    sources = Sources(options)
    try:
        config = sources.load()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return options.config_error_status
    try:
        tls = tls_context(options.tls_cert_file, options.tls_key_file)
        listeners = listen_sockets() or bind(options.listen)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot listen on {options.listen}: {error}\n")
        return 1
    raise_descriptor_limit()
    return front.run(Service(options, sources, config, listeners, tls).main)
