"""llama-swap: one OpenAI-compatible endpoint in front of llama.cpp servers."""

__version__ = "0.1.0"

# Shown by --version and /api/version; a build that knows better replaces them.
BUILD_COMMIT = "unknown"
BUILD_DATE = "unknown"
