# Typed models, the blocks they share, and their rendering into `settings`.
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
  inherit (import ./typed.nix { inherit lib renderers; }) duration given low;
  model = import ./model.nix { inherit lib renderers; };
  layers = import ./layers.nix {
    inherit lib;
    modelOptions = model.options;
  };
  render = import ../render.nix {
    inherit lib pkgs renderers;
    inherit (model) table;
  };
  path = [
    "services"
    "llama-swap"
  ];

  group = types.submodule {
    # Keys that llama-swap has and this list has not; `llama-swap check` knows which.
    freeformType = types.attrsOf types.anything;
    options = {
      members = mkOption {
        type = types.listOf types.str;
        description = "Models of the group.";
      };
      swap = mkOption {
        type = types.bool;
        default = true;
        description = "Only one member runs at a time.";
      };
      exclusive = mkOption {
        type = types.bool;
        default = true;
        description = "Running a member unloads the models of other groups.";
      };
      persistent = mkOption {
        type = types.bool;
        default = false;
        description = "Other groups never unload the members.";
      };
    };
  };

  priorities = given (lib.mapAttrs (_: entry: entry.priority) cfg.models);
in
{
  options.services.llama-swap = {
    models = mkOption {
      type = types.attrsOf (
        types.submodule [
          { inherit (model) options; }
          (layers.apply {
            defaults = layers.evaluate (path ++ [ "defaults" ]) cfg.defaults;
            profiles = lib.mapAttrs (
              name:
              layers.evaluate (
                path
                ++ [
                  "profiles"
                  name
                ]
              )
            ) cfg.profiles;
          })
        ]
      );
      default = { };
      example = lib.literalExpression ''
        {
          "qwen3:8b" = {
            hf = "unsloth/Qwen3-8B-GGUF:Q4_K_M";
            ctxSize = 32768;
            ttl = "1h";
          };
        }
      '';
      description = "Models by the name that clients ask for. They are rendered into {option}`services.llama-swap.settings`.";
    };
    defaults = mkOption {
      type = types.deferredModule;
      default = { };
      example = lib.literalExpression ''{ gpu.layers = 99; ttl = "1h"; }'';
      description = "The options of a model, as defaults for all of {option}`services.llama-swap.models`. A list or a value replaces, a set merges.";
    };
    profiles = mkOption {
      type = types.attrsOf types.deferredModule;
      default = { };
      example = lib.literalExpression "{ moe = { gpu.nCpuMoe = 20; threads = 8; }; }";
      description = "Named blocks of model options, for {option}`services.llama-swap.models.<name>.profiles`.";
    };
    groups = mkOption {
      type = types.attrsOf group;
      default = { };
      description = "Which models run together and which replace each other. A model in no group replaces, and is replaced by, every other.";
    };
    preload = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Models to load when the service starts.";
    };
    globalTTL = mkOption {
      type = types.nullOr duration;
      default = null;
      example = "1h";
      description = "Unload a model after so long without a request, unless it says otherwise.";
    };
    healthCheckTimeout = mkOption {
      type = types.nullOr duration;
      default = null;
      example = "10m";
      description = "How long a model may take to get ready, its download included.";
    };
  };

  config.services.llama-swap.settings = lib.mkMerge [
    (lib.mkIf (cfg.models != { }) {
      models = lib.mapAttrs (id: entry: low (render.model cfg.llamaCppPackage id entry)) cfg.models;
    })
    # The older spelling and `routing.router.use` exclude each other.
    (lib.mkIf (cfg.groups != { } && cfg.router == null) { groups = low cfg.groups; })
    (lib.mkIf (cfg.groups != { } && cfg.router != null) {
      routing.router.settings.groups = low cfg.groups;
    })
    (lib.mkIf (cfg.preload != [ ]) (low {
      hooks.on_startup.preload = cfg.preload;
    }))
    (lib.mkIf (cfg.globalTTL != null) (low {
      globalTTL = renderers.parseDuration cfg.globalTTL;
    }))
    (lib.mkIf (cfg.healthCheckTimeout != null) (low {
      healthCheckTimeout = renderers.parseDuration cfg.healthCheckTimeout;
    }))
    (lib.mkIf (priorities != { }) (low {
      routing.scheduler.settings.fifo.priority = priorities;
    }))
  ];
}
