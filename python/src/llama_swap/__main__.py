"""``python -m llama_swap`` is the ``llama-swap`` command."""

import sys

from llama_swap.cli import main

sys.exit(main())
