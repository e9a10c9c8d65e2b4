"""Short ways to load a configuration from text."""

from textwrap import dedent

import pytest

from llama_swap.config import ConfigError, PortBook, load_config


@pytest.fixture
def load(tmp_path):
    """Load one file or several from text; every port is free unless a book is given."""

    def load_texts(*texts, env=None, ports=None, **options):
        sources = []
        for number, text in enumerate(texts):
            sources.append(tmp_path / ("config.yaml" if number == 0 else f"more{number}.yaml"))
            sources[-1].write_text(dedent(text))
        return load_config(sources, env=env or {}, ports=ports or PortBook(lambda _port: True), **options)

    return load_texts


@pytest.fixture
def refused(load):
    """Load what cannot be loaded; gives the problems by key."""

    def problems_of(*texts, **options):
        with pytest.raises(ConfigError) as caught:
            load(*texts, **options)
        return {problem.key: problem for problem in caught.value.problems}

    return problems_of


@pytest.fixture
def model(load):
    """Load one model from the text of its keys, with top-level text before it."""

    def load_model(keys, top="", **options):
        body = "".join(f"    {line}\n" for line in dedent(keys).strip("\n").split("\n"))
        return load(f"{dedent(top)}\nmodels:\n  m:\n{body}", **options).models["m"]

    return load_model
