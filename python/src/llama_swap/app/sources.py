"""Where the configuration is read from."""

import os
from pathlib import Path

from llama_swap.app.options import ServeOptions
from llama_swap.config import Config, ConfigError, Loading, PortBook, config_sources
from llama_swap.config.watch import content_digest


class Sources:
    """The files of the configuration; remembers the ports that models have been given, and what was loaded last."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self.ports = PortBook()
        self.digest = ""

    def files(self) -> tuple[Path, ...]:
        """The files as they are now; none while the directory is missing."""
        try:
            return config_sources(self._options.config, self._options.config_dir)
        except ConfigError:
            return ()

    def begin(self, *, fork: bool = False) -> Loading:
        """Begin to read and check everything; raises ConfigError where there are no files, or OSError.

        Args:
            fork: see :class:`llama_swap.config.Loading`.
        """
        sources = config_sources(self._options.config, self._options.config_dir)
        self.digest = content_digest(sources)
        return Loading(sources, env=os.environ, ports=self.ports, fork=fork)

    def load(self) -> Config:
        """Read and check everything; raises ConfigError, or OSError where no other process can do it."""
        return self.begin().wait()
