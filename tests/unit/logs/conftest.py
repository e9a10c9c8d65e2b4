"""Logging is set up once per process; these tests do it many times, so each leaves things as they were."""

import io
import logging

import pytest
import structlog


class Printed(io.BytesIO):
    """A stdout that can be looked at, and that may claim to be a terminal."""

    terminal = False

    def isatty(self):
        """Whether to claim to be a terminal."""
        return self.terminal

    @property
    def text(self):
        """Everything that was printed."""
        return self.getvalue().decode()


@pytest.fixture
def printed():
    """A stdout for one test; structlog and the root logger are restored afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Printed()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
