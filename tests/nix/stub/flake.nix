# The flake's outputs, made of the stub instead of a real nixpkgs.
let
  lib = import <nixpkgs/lib>;
  nixpkgs = {
    outPath = ./nixpkgs;
    lib = lib // {
      # Whole hosts need the real thing; here only what the module makes of them.
      nixosSystem =
        { modules }:
        lib.evalModules {
          specialArgs.modulesPath = toString ./.;
          modules = modules ++ [
            ./nixos.nix
            {
              _module.args.pkgs = import ./pkgs.nix {
                inherit lib;
                system = "x86_64-linux";
              };
              _module.check = false;
            }
          ];
        };
    };
    legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
      system: import ./pkgs.nix { inherit lib system; }
    );
  };
  self = (import ../../../flake.nix).outputs { inherit self nixpkgs; };
in
self
