# Formatters and linters over Nix, shell and Python.
{
  lib,
  pkgs,
  service,
  ...
}:
let
  requirements = import ../requirements.nix { inherit lib; };
in
pkgs.runCommand "lint"
  {
    src = lib.fileset.toSource {
      root = ../..;
      fileset = lib.fileset.unions [
        ../../flake.nix
        ../../nixos-module.nix
        ../../nix
        ../../tests
        ../../python
      ];
    };
    nativeBuildInputs = [
      pkgs.deadnix
      pkgs.nixfmt
      pkgs.ruff
      pkgs.shellcheck
      pkgs.statix
      (pkgs.python3.withPackages (
        packages:
        [ (packages.toPythonModule service) ]
        # ruff is a program of its own in nixpkgs. All the rest of the extra is mypy and the stubs it wants.
        ++ map (name: packages.${name}) (lib.remove "ruff" (requirements.extras [ "lint" ]))
      ))
    ];
  }
  ''
    cp --recursive --no-preserve=mode "$src" source
    cd source
    export HOME=$TMPDIR
    find . -name '*.nix' -print0 | xargs -0 nixfmt --check
    statix check --config nix/statix.toml .
    deadnix --fail .
    shellcheck --shell=bash nix/update-llama-cpp.sh
    ruff check --no-cache --config python/pyproject.toml python/src tests
    ruff format --no-cache --check --config python/pyproject.toml python/src tests
    (cd python && mypy src)
    touch $out
  ''
