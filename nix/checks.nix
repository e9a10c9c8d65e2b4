# Everything `nix flake check` builds: each file of checks/, and on x86_64 each file of tests/nixos/ as a virtual machine.
{ pkgs, self }:
let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;
  nixFiles =
    directory:
    lib.filterAttrs (name: kind: kind == "regular" && lib.hasSuffix ".nix" name) (
      builtins.readDir directory
    );
  discover =
    prefix: directory: load:
    lib.mapAttrs' (
      file: _: lib.nameValuePair (prefix + lib.removeSuffix ".nix" file) (load (directory + "/${file}"))
    ) (nixFiles directory);
  arguments = {
    inherit lib pkgs self;
    service = self.packages.${system}.llama-swap;
  };
in
discover "" ./checks (file: import file arguments)
// lib.optionalAttrs (system == "x86_64-linux") (
  discover "vm-" ../tests/nixos (import ./vm-test.nix arguments)
)
