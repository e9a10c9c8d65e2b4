# The machines of tests/nixos/*.nix, evaluated by the real module system and built for a Debian whose programs are in /usr and /opt:
# a folder for each, with its units, files and firewall, and the folders of its specialisations.
{
  lib ? import <nixpkgs/lib>,
  models ? "/var/lib/models",
  switch ? "/opt/repository/tests/nixos/debian/switch.py",
}:
let
  pkgs = import ../../nix/stub/pkgs.nix {
    inherit lib;
    llamaSwapProgram = "/opt/llama-swap/bin/llama-swap";
  };
  evaluate = import ../../nix/stub/evaluate.nix { inherit lib pkgs; };
  # The test package of a machine is Debian's llama-server, as the NixOS tests take nixpkgs' one.
  common.services.llama-swap.llamaCppPackage = lib.mkDefault pkgs.llama-cpp;

  copy = target: source: ''
    mkdir -p "$out/$(dirname ${target})"
    ln -s ${source} $out/${target}
  '';
  system =
    name: modules:
    let
      inherit (evaluate (modules ++ [ common ])) config;
      failing = lib.filter (entry: !entry.assertion) config.assertions;
      units = lib.mapAttrs (unit: text: pkgs.writeText unit text) config.rendered;
      specialisations = lib.mapAttrs (
        child: value:
        system "${name}-${child}" (
          modules
          ++ [
            value.configuration
            { specialisation = lib.mkForce { }; }
          ]
        )
      ) config.specialisation;
      activate = pkgs.writeShellScript "switch-to-configuration" ''exec python3 ${switch} "$(dirname "$(dirname "$(readlink -f "$0")")")" "$@"'';
    in
    if failing != [ ] then
      throw (lib.concatMapStringsSep "\n" (entry: entry.message) failing)
    else
      pkgs.runCommand name
        {
          ports = toString config.networking.firewall.allowedTCPPorts;
        }
        (
          ''
            mkdir -p $out/bin $out/units
            echo "$ports" > $out/ports
            cp ${activate} $out/bin/switch-to-configuration
          ''
          + lib.concatStrings (lib.mapAttrsToList (unit: file: copy "units/${unit}" file) units)
          + lib.concatStrings (
            lib.mapAttrsToList (path: entry: copy "etc/${path}" entry.source) config.environment.etc
          )
          + lib.concatStrings (
            lib.mapAttrsToList (child: path: copy "specialisation/${child}" path) specialisations
          )
        );

  files = lib.filterAttrs (name: kind: kind == "regular" && lib.hasSuffix ".nix" name) (
    builtins.readDir ./..
  );
  tests = lib.mapAttrs' (
    file: _:
    let
      test = import (./.. + "/${file}") (
        builtins.intersectAttrs (builtins.functionArgs (import (./.. + "/${file}"))) arguments
      );
    in
    lib.nameValuePair (lib.removeSuffix ".nix" file) test
  ) files;
  arguments = {
    inherit lib pkgs models;
  };
in
pkgs.runCommand "scenarios" { } (
  "mkdir $out\n"
  + lib.concatStrings (
    lib.mapAttrsToList (name: test: ''
      mkdir $out/${name}
      ln -s ${system name [ test.machine ]} $out/${name}/system
      echo ${test.scenario} > $out/${name}/scenario
    '') tests
  )
)
