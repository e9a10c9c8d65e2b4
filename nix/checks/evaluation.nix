# The module's assertions and warnings, by their messages, against the same cases as pytest.
{ lib, pkgs, ... }:
let
  evaluate = import ../../tests/nix/stub/evaluate.nix { inherit lib pkgs; };
  cases = import ../../tests/nix/cases.nix { inherit lib pkgs; };
  says = messages: part: lib.any (lib.hasInfix part) messages;
  problems =
    name: case:
    let
      inherit (evaluate [ case.module ]) config;
      failing = map (entry: entry.message) (lib.filter (entry: !entry.assertion) config.assertions);
      missing =
        lib.filter (part: !(says failing part)) case.assertions
        ++ lib.filter (part: !(says config.warnings part)) case.warnings;
      surplus =
        lib.length failing - lib.length case.assertions + lib.length config.warnings
        - lib.length case.warnings;
    in
    map (part: "${name}: nothing says: ${part}") missing
    ++
      lib.optional (missing == [ ] && surplus > 0)
        "${name}: more is said than expected: ${toString (failing ++ config.warnings)}";
  found = lib.concatLists (lib.mapAttrsToList problems cases);
in
if found == [ ] then
  pkgs.writeText "evaluation" "passed"
else
  throw (lib.concatStringsSep "\n" found)
