"""Commands that need no running service: serve, check, schema, and what ``--version`` prints."""

import argparse
import gc
import json
import os
import sys
from typing import Final

from llama_swap import BUILD_COMMIT, BUILD_DATE, __version__

# sysexits.h EX_CONFIG: systemd's RestartPreventExitStatus=78 keeps a broken configuration from being retried.
CONFIG_ERROR: Final = 78


def version_text() -> str:
    """What ``--version`` prints, worded as by llama-swap."""
    return f"version: {__version__} ({BUILD_COMMIT}), built at {BUILD_DATE}"


def serve(arguments: argparse.Namespace) -> int:
    """Run the service until it is told to stop."""
    gc.disable()  # what is made while it starts stays; the service turns it on again
    from llama_swap.app import ServeOptions, serve  # noqa: PLC0415 - heavy; the other commands must start quickly

    return serve(
        ServeOptions(
            config=arguments.config,
            config_dir=arguments.config_dir,
            listen=arguments.listen,
            watch_config=arguments.watch_config,
            log_format=arguments.log_format,
            config_error_status=arguments.config_error_status,
            tls_cert_file=arguments.tls_cert_file,
            tls_key_file=arguments.tls_key_file,
        )
    )


def check(arguments: argparse.Namespace) -> int:
    """Print what a configuration comes to, or everything that is wrong with it."""
    from llama_swap.config import (  # noqa: PLC0415 - heavy; the other commands must start quickly
        ConfigError,
        PortBook,
        config_sources,
        load_config,
        render_check,
    )

    # The answer must not depend on what happens to run on this machine now.
    ports = PortBook(is_free=lambda _port: True)
    try:
        sources = config_sources(arguments.config or arguments.config_flag, arguments.config_dir)
        config = load_config(sources, env=os.environ, ports=ports, allow_missing_env=arguments.allow_missing_env)
    except ConfigError as error:
        count = len(error.problems)
        sys.stderr.write(f"{error}\n{count} problem{'s' if count != 1 else ''}\n")
        return CONFIG_ERROR
    sys.stdout.write(render_check(config, redact_env=os.environ).rstrip("\n") + "\n")
    return 0


def schema(_arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of the configuration."""
    from llama_swap.config import json_schema  # noqa: PLC0415 - heavy; the other commands must start quickly

    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0
