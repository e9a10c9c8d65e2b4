"""What the fuzz tests share."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def _no_lines():
    """Refusals are logged for debugging; here there are thousands."""
    with structlog.testing.capture_logs():
        yield
