# Secrets: read by systemd from files outside the store and given to the service as credentials. API keys it reads itself;
# other secrets a few lines of shell turn into the environment.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.llama-swap;
  renderers = import ../lib.nix { inherit lib; };
  inherit (import ./typed.nix { inherit lib renderers; }) low;
  # Go llama-swap reads keys from variables only.
  keyName =
    position:
    if cfg.isOurs then "api-key-${toString position}" else "LLAMA_SWAP_API_KEY_${toString position}";
  # Keys of nobody in particular, then those with names; each file has a number, since not every name can be one of a credential.
  entries =
    map (file: { inherit file; }) cfg.apiKeyFiles
    ++ lib.mapAttrsToList (name: key: key // { inherit name; }) cfg.apiKeys;
  keyFiles = lib.listToAttrs (
    lib.imap0 (position: entry: lib.nameValuePair (keyName position) entry.file) entries
  );
  keySource =
    position: entry:
    if !cfg.isOurs then
      "\${env.${keyName position}}"
    else
      removeAttrs (lib.filterAttrs (_: value: value != 0) entry) [ "file" ]
      // {
        credential = keyName position;
      };
  # A Nix path is accepted only to be refused by an assertion: it would be copied into the store.
  secretFile = types.either types.path types.str;
in
{
  options.services.llama-swap = {
    apiKeyFiles = mkOption {
      type = types.listOf secretFile;
      default = [ ];
      example = [ "/run/secrets/llama-swap-key" ];
      description = "Files with one API key a line. Clients must send one of them; the files may be readable by root only, and no model sees them.";
    };
    apiKeys = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            file = mkOption {
              type = secretFile;
              description = "File with one API key a line, like those of {option}`services.llama-swap.apiKeyFiles`.";
            };
            priority = mkOption {
              type = types.int;
              default = 0;
              description = "Added to the priority of the model for requests with these keys.";
            };
          };
        }
      );
      default = { };
      example = {
        alice.file = "/run/secrets/llama-swap-alice";
        agents = {
          file = "/run/secrets/llama-swap-agents";
          priority = -1;
        };
      };
      description = "API keys by whose they are. Keys of one name share their part of the service; see {option}`services.llama-swap.fairShare`.";
    };
    credentials = mkOption {
      type = types.attrsOf secretFile;
      default = { };
      example = {
        HF_TOKEN = "/run/secrets/hf-token";
      };
      description = "Files whose contents the service and its models see as environment variables of these names, also as `\${env.NAME}` in the configuration.";
    };
    environmentFile = mkOption {
      type = types.nullOr secretFile;
      default = null;
      example = "/run/secrets/llama-swap.env";
      description = "File with `NAME=value` lines for the service and its models, also as `\${env.NAME}` in the configuration.";
    };
    exportedCredentials = mkOption {
      type = types.attrsOf secretFile;
      internal = true;
      readOnly = true;
      default = cfg.credentials // lib.optionalAttrs (!cfg.isOurs) keyFiles;
      description = "Credentials that become environment variables.";
    };
    startCommand = mkOption {
      type = types.str;
      internal = true;
      readOnly = true;
      description = "The program that the unit starts: llama-swap itself, or a few lines that export credentials and become llama-swap.";
      default =
        if cfg.exportedCredentials == { } then
          lib.getExe cfg.package
        else
          "${pkgs.writeShellScript "llama-swap-with-credentials" ''
            set -eu
            for name in ${lib.escapeShellArgs (lib.attrNames cfg.exportedCredentials)}; do
              value=$(cat "$CREDENTIALS_DIRECTORY/$name")
              export "$name=$value"
            done
            exec ${lib.getExe cfg.package} "$@"
          ''}";
    };
  };

  config = lib.mkIf cfg.enable {
    services.llama-swap.settings = lib.mkIf (entries != [ ]) (low {
      apiKeys = lib.imap0 keySource entries;
    });
    systemd.services.llama-swap.serviceConfig = {
      LoadCredential =
        lib.mapAttrsToList (name: file: "${name}:${toString file}") (cfg.credentials // keyFiles)
        ++ lib.optionals cfg.tls.enable [
          "tls-cert:${toString cfg.tls.certFile}"
          "tls-key:${toString cfg.tls.keyFile}"
        ];
      EnvironmentFile = lib.mkIf (cfg.environmentFile != null) [ (toString cfg.environmentFile) ];
    };
  };
}
