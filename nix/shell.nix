# Everything `make test` and `make lint` want.
{ pkgs }:
let
  inherit (pkgs) lib;
  requirements = import ./requirements.nix { inherit lib; };
in
pkgs.mkShellNoCC {
  packages = [
    pkgs.deadnix
    pkgs.llama-cpp
    pkgs.nixfmt-tree
    pkgs.ruff
    pkgs.statix
    (pkgs.python3.withPackages (
      packages:
      map (name: packages.${name}) (
        # ruff is a program of its own in nixpkgs.
        lib.remove "ruff" (
          requirements.of [
            "speed"
            "test"
            "lint"
          ]
        )
        ++ [ "gguf" ]
      )
    ))
  ];
}
