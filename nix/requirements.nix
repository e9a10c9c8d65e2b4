# Names of Python packages out of pyproject.toml, so that they are written once. nixpkgs spells them in lower case.
{ lib }:
let
  inherit (lib.importTOML ../python/pyproject.toml) project;
  name = requirement: lib.toLower (lib.head (builtins.match "([A-Za-z0-9._-]+).*" requirement));
in
{
  inherit project;
  # Of the service itself with the given extras: `of [ "speed" ]`.
  of =
    extras:
    map name (
      project.dependencies ++ lib.concatMap (extra: project.optional-dependencies.${extra}) extras
    );
  # Of extras alone.
  extras = lib.concatMap (extra: map name project.optional-dependencies.${extra});
}
