# Everything `make test` and `make lint` want.
{ pkgs }:
pkgs.mkShellNoCC {
  packages = [
    pkgs.deadnix
    pkgs.llama-cpp
    pkgs.nixfmt-tree
    pkgs.ruff
    pkgs.statix
    (pkgs.python3.withPackages (
      packages: with packages; [
        aiohttp
        gguf
        httptools
        hypothesis
        msgspec
        mypy
        openai
        pydantic
        pytest
        pytest-asyncio
        pytest-xdist
        pyyaml
        sdnotify
        structlog
        types-pyyaml
        uvloop
      ]
    ))
  ];
}
