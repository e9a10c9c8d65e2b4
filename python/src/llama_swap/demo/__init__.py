"""The demo: tiny real models served by the real llama.cpp."""
