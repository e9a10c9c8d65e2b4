"""The composition root: configuration -> objects -> task group -> signals -> service manager.

The only place that builds things. Start-up and shutdown are nested contexts: what is opened last is closed first.
"""

import sys

from llama_swap.app.libraries import lean
from llama_swap.app.options import ServeOptions
from llama_swap.app.sources import Sources
from llama_swap.config import ConfigError
from llama_swap.listen import bind, raise_descriptor_limit, tls_context
from llama_swap.notify import listen_sockets

__all__ = ["ServeOptions", "serve"]


def serve(options: ServeOptions) -> int:
    """Run the service until it is told to stop; returns the exit status."""
    sources = Sources(options)
    try:
        loading = sources.begin(fork=True)
        with lean():
            # What takes most of a start is imported while another process reads the configuration.
            from llama_swap.app.service import Service  # noqa: PLC0415
            from llama_swap.proxy import front  # noqa: PLC0415
        config = loading.wait()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return options.config_error_status
    except OSError as error:
        sys.stderr.write(f"the configuration cannot be read: {error}\n")
        return 1
    try:
        tls = tls_context(options.tls_cert_file, options.tls_key_file)
        listeners = listen_sockets() or bind(options.listen)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot listen on {options.listen}: {error}\n")
        return 1
    raise_descriptor_limit()
    return front.run(Service(options, sources, config, listeners, tls).main)
