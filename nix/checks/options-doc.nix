# docs/options.md is what the module says today.
{ lib, pkgs, ... }:
pkgs.runCommand "options-doc"
  {
    fresh = import ../docs.nix { inherit lib pkgs; };
    committed = ../../docs/options.md;
    nativeBuildInputs = [ pkgs.diffutils ];
  }
  ''
    diff --unified "$committed" "$fresh" || { echo "docs/options.md is stale: copy the result of nix build .#docs"; exit 1; }
    touch $out
  ''
