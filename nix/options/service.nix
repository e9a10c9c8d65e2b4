# The options of nixpkgs' module, by the same names, types and meanings, and the generated configuration file.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.llama-swap;
  format = pkgs.formats.yaml { };
  pathOrNull = types.nullOr types.path;
  renderers = import ../lib.nix { inherit lib; };
  withCommand =
    model:
    if lib.isList (model.cmd or null) && lib.all lib.isString model.cmd then
      model // { cmd = renderers.renderCommand model.cmd; }
    else
      model;

  # JSON is YAML 1.2: every string is quoted, every number keeps its digits, nothing is guessed.
  unchecked = (pkgs.formats.json { }).generate "llama-swap-config.yaml" cfg.settings;
  checked =
    pkgs.runCommand "llama-swap-config.yaml"
      {
        config = unchecked;
        preferLocalBuild = true;
      }
      ''
        ${lib.getExe cfg.package} check "$config" --allow-missing-env
        cp "$config" "$out"
      '';
in
{
  options.services.llama-swap = {
    enable = lib.mkEnableOption "llama-swap, one OpenAI-compatible endpoint for many models";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../package.nix { };
      defaultText = lib.literalMD "this project's llama-swap, built with the host's `pkgs`";
      description = "The llama-swap to run. Go llama-swap works too, without the build-time check, the watchdog and reloading in place.";
    };

    llamaCppPackage = mkOption {
      type = types.package;
      default = pkgs.callPackage ../llama-cpp.nix {
        cudaSupport = cfg.gpu.enable && cfg.gpu.backend == "cuda";
        rocmSupport = cfg.gpu.enable && cfg.gpu.backend == "rocm";
        vulkanSupport = cfg.gpu.enable && cfg.gpu.backend == "vulkan";
      };
      defaultText = lib.literalMD "this project's pinned llama.cpp for `gpu.backend`, built with the host's `pkgs`";
      description = "The llama.cpp whose `llama-server` runs the models. The host's own `pkgs` keep its libraries in step with the GPU driver.";
    };

    listenAddress = mkOption {
      type = types.str;
      default = "127.0.0.1";
      example = "0.0.0.0";
      description = "Address to listen on. Anything wider than this machine should have {option}`services.llama-swap.apiKeyFiles`.";
    };

    port = mkOption {
      type = types.port;
      default = 9292;
      description = "Port to listen on.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Open {option}`services.llama-swap.port` in the firewall.";
    };

    tls = {
      enable = lib.mkEnableOption "HTTPS";
      certFile = mkOption {
        type = pathOrNull;
        default = null;
        description = "Certificate (chain) in PEM. Read by systemd as root, so the service needs no access to it.";
      };
      keyFile = mkOption {
        type = pathOrNull;
        default = null;
        description = "Private key in PEM. Read by systemd as root, so the service needs no access to it.";
      };
    };

    settings = mkOption {
      type = types.submodule { freeformType = format.type; };
      default = { };
      # A command as a list of words becomes the one string that llama-swap and readers of `settings.models` expect.
      apply =
        settings:
        settings
        // lib.optionalAttrs (lib.isAttrs (settings.models or null)) {
          models = lib.mapAttrs (_: withCommand) settings.models;
        };
      description = ''
        llama-swap's own configuration. What is written here wins over what the typed options render;
        {option}`services.llama-swap.settings.models` can be read by other modules, too.
      '';
    };

    configFile = mkOption {
      type = types.path;
      readOnly = true;
      default = if cfg.isOurs then checked else unchecked;
      defaultText = lib.literalMD "the configuration, checked at build time by `llama-swap check`";
      description = "The generated configuration, which stands at `/etc/llama-swap/config.yaml`.";
    };

    isOurs = mkOption {
      type = types.bool;
      internal = true;
      readOnly = true;
      default = cfg.package.passthru.llamaSwapUnit or false;
      description = "Whether the package notifies systemd, reloads in place and checks configurations.";
    };
  };

  config = lib.mkIf cfg.enable {
    # A stable path: an edit changes what the link points to, not the unit, so the service reloads and loaded models stay.
    environment.etc."llama-swap/config.yaml".source = cfg.configFile;
    environment.systemPackages = [ cfg.package ];
    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [ cfg.port ];
  };
}
