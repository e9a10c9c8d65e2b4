"""Inbound HTTP: thin aiohttp handlers."""
