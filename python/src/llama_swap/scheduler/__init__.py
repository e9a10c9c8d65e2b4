"""The core: decides who runs, without clock, I/O or logging."""
