# A nixpkgs for `nix flake check --override-input nixpkgs`. The test puts nixpkgs' lib and this repository beside it, because a flake
# is evaluated without NIX_PATH.
{
  outputs =
    { self }:
    let
      lib = import ./lib;
      pkgsFor = system: import self { inherit system; };
      hostOptions =
        { config, pkgs, ... }:
        {
          options.system.build = lib.mkOption { type = lib.types.attrsOf lib.types.package; };
          config = {
            system.build.toplevel = pkgs.writeText "toplevel" (toString (lib.attrValues config.rendered));
            _module.args.pkgs = pkgsFor "x86_64-linux";
            # The rest of a host has no options here.
            _module.check = false;
          };
        };
    in
    {
      lib = lib // {
        nixosSystem =
          { modules }:
          lib.evalModules {
            specialArgs.modulesPath = "/modules";
            modules = modules ++ [
              ./repository/tests/nix/stub/nixos.nix
              hostOptions
            ];
          };
      };
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] pkgsFor;
    };
}
