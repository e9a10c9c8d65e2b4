# A file of tests/nixos -> a NixOS VM test. The file gives one machine and the name of the scenario (plain Python) that drives it;
# the same pairs run on any systemd through tests/nixos/debian.
{
  lib,
  pkgs,
  self,
  service,
}:
file:
let
  test = import file {
    inherit lib pkgs;
    models = import ./tiny-models.nix { inherit pkgs service; };
  };
in
pkgs.testers.runNixOSTest {
  name = "llama-swap-${lib.removeSuffix ".nix" (baseNameOf file)}";
  globalTimeout = 600;
  nodes.machine = {
    imports = [
      self.nixosModules.default
      test.machine
    ];
    virtualisation.memorySize = 2048;
    virtualisation.cores = 2;
    environment.systemPackages = [
      pkgs.curl
      pkgs.jq
    ];
    # The host's llama.cpp on the CPU, out of the binary cache: no test compiles anything.
    services.llama-swap.llamaCppPackage = pkgs.llama-cpp;
  };
  testScript =
    lib.concatMapStringsSep "\n" (name: builtins.readFile (../tests/nixos/scenarios + "/${name}.py"))
      [
        "prelude"
        test.scenario
      ];
}
