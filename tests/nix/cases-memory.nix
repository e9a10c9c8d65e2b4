# The same for the options about memory, yielding and named keys.
{
  asserts,
  case,
  model,
  pkgs,
  swap,
  warns,
}:
{
  named-key-in-store = asserts {
    apiKeys.alice.file = "${builtins.storeDir}/00000000000000000000000000000000-key";
  } "must not be in the Nix store";
  plain-key-with-a-name = asserts {
    settings.apiKeys = [
      {
        key = "sk-secret";
        name = "alice";
      }
    ];
  } "has a key of `apiKeys` or `peers` in plain text";
  named-keys = swap {
    apiKeys.alice.file = "/run/secrets/alice";
    settings.apiKeys = [ { credential = "x"; } ];
  } { };
  fit-with-go =
    case
      {
        services.llama-swap = {
          package = pkgs.llama-swap;
          router = "fit";
        };
      }
      {
        assertions = [ "knows groups and a matrix only" ];
        warnings = [ "is another llama-swap" ];
      };
  yield-with-go =
    case
      {
        services.llama-swap = {
          package = pkgs.llama-swap;
          yield.whileUnits = [ "x.service" ];
        };
      }
      {
        assertions = [ "need this project's llama-swap" ];
        warnings = [ "is another llama-swap" ];
      };
  gamemode-without-a-key = asserts {
    apiKeyFiles = [ "/run/secrets/key" ];
    yield.gamemode.enable = true;
  } "GameMode and units of users run as whoever plays";
  user-unit-without-a-key = asserts {
    apiKeys.alice.file = "/run/secrets/key";
    yield.whileUserUnits = [ "x.service" ];
  } "GameMode and units of users run as whoever plays";
  unit-without-a-known-key = asserts {
    settings.apiKeys = [ "\${env.KEY}" ];
    yield.whileUnits = [ "x.service" ];
  } "none of them is in a file that the module knows";
  yield-key-in-store = asserts { yield.apiKeyFile = ./cases.nix; } "must not be in the Nix store";
  yield-with-keys = swap {
    apiKeyFiles = [ "/run/secrets/key" ];
    yield = {
      gamemode.enable = true;
      whileUnits = [ "x.service" ];
      whileUserUnits = [ "x.service" ];
      apiKeyFile = "/run/secrets/desk";
    };
  } { };
  fit-and-groups = warns {
    models.a = model;
    groups.g.members = [ "a" ];
    router = "fit";
  } "mean nothing with services.llama-swap.router";
}
