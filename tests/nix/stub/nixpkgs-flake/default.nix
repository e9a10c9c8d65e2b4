# `import nixpkgs { ... }` in a flake.
{
  system,
  config ? { },
}:
import ./repository/tests/nix/stub/pkgs.nix {
  lib = import ./lib;
  inherit system config;
}
