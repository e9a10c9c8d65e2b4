# The service itself. Its fast tests run in the check phase; those that start llama.cpp are checks of their own.
{
  lib,
  python3Packages,
}:
let
  requirements = import ./requirements.nix { inherit lib; };
  inherit (requirements) project;
  packages = map (name: python3Packages.${name});
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
      ../tests/data
      ../tests/unit
      ../tests/scheduler
      (lib.fileset.maybeMissing ../tests/conftest.py)
      (lib.fileset.maybeMissing ../tests/pytest.ini)
    ];
  };
  sourceRoot = "source/python";

  build-system = [ python3Packages.hatchling ];
  dependencies = packages (requirements.of [ "speed" ]);

  # Of the demo extra nixpkgs has gguf only; the tests of llama.cpp inside Python are skipped without xllamacpp.
  nativeCheckInputs = packages (requirements.extras [ "test" ]) ++ [
    python3Packages.gguf
    python3Packages.pytestCheckHook
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
