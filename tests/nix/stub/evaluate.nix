# A machine's configuration, evaluated by the real module system: { config, options } of the module, the stub and what is given.
{
  lib ? import <nixpkgs/lib>,
  pkgs ? import ./pkgs.nix { inherit lib; },
}:
modules:
lib.evalModules {
  specialArgs.modulesPath = toString ./.;
  modules = [
    ./nixos.nix
    ../../../nixos-module.nix
    { _module.args = { inherit pkgs; }; }
  ]
  ++ modules;
}
