# `import nixpkgs { ... }` for the flake's tests.
{
  system,
  config ? { },
}:
let
  lib = import <nixpkgs/lib>;
in
import ../pkgs.nix { inherit lib system config; }
