"""llama-swap: one OpenAI-compatible endpoint in front of llama.cpp servers."""

__version__ = "0.1.0"
