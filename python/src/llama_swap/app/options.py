"""What the command line says about the service."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The command line of the service.

    Attributes:
        listen: ``host:port``; an empty host is every interface.
        log_format: auto, human, json or logfmt.
        config_error_status: exit status for a configuration that cannot be used.
        tls_cert_file, tls_key_file: serve HTTPS with this certificate chain and key (PEM); both or neither.
    """

    config: Path | None
    config_dir: Path | None
    listen: str
    watch_config: bool = False
    log_format: str = "auto"
    config_error_status: int = 1
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
