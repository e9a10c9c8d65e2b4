# The service itself. Its fast tests run in the check phase; those that start llama.cpp are checks of their own.
{
  lib,
  python3Packages,
}:
let
  project = (lib.importTOML ../python/pyproject.toml).project;
in
python3Packages.buildPythonApplication {
  pname = "llama-swap";
  inherit (project) version;
  pyproject = true;

  # Only what the build and its tests read, so that an edit of a page does not rebuild the service.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../LICENSE
      ../python/pyproject.toml
      ../python/src
      ../tests/unit
      ../tests/scheduler
    ];
  };
  sourceRoot = "source/python";

  build-system = [ python3Packages.hatchling ];
  dependencies = with python3Packages; [
    aiohttp
    httptools
    msgspec
    nvidia-ml-py
    prometheus-client
    psutil
    pydantic
    pyyaml
    sdnotify
    structlog
    uvloop
  ];

  nativeCheckInputs = with python3Packages; [
    hypothesis
    pytestCheckHook
    pytest-asyncio
  ];
  enabledTestPaths = [
    "../tests/unit"
    "../tests/scheduler"
  ];
  disabledTestMarks = [ "slow" ];
  pythonImportsCheck = [ "llama_swap" ];

  # The module asks for this to know that the program notifies systemd, reloads in place and checks configurations.
  passthru.llamaSwapUnit = true;

  meta = {
    inherit (project) description;
    license = lib.licenses.mit;
    mainProgram = "llama-swap";
    platforms = lib.platforms.linux;
  };
}
