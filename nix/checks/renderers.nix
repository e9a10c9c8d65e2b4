# The pure renderers, value by value.
{ lib, pkgs, ... }:
let
  failures = lib.runTests (import ../../tests/nix/renderers.nix { inherit lib; });
in
builtins.seq (lib.debug.throwTestFailures { inherit failures; }) (
  pkgs.writeText "renderers" "passed"
)
