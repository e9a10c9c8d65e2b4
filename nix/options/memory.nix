# Who decides which models run together, what memory must stay free, and how long requests may keep a model.
{ config, lib, ... }:
let
  inherit (lib) types;
  cfg = config.services.llama-swap;
  renderers = import ../lib.nix { inherit lib; };
  inherit (renderers) seconds;
  inherit (import ./typed.nix { inherit lib renderers; })
    duration
    given
    low
    nullable
    size
    ;

  fit = given (
    cfg.memory
    // {
      minResidency = seconds cfg.memory.minResidency;
      releaseTimeout = seconds cfg.memory.releaseTimeout;
    }
  );
  keepAlive = given {
    inherit (cfg.keepAlive) honour;
    max = seconds cfg.keepAlive.max;
  };
in
{
  options.services.llama-swap = {
    router =
      nullable
        (types.enum [
          "auto"
          "fit"
          "group"
          "matrix"
        ])
        ''
          Who decides which models run together: `"fit"` is memory, `"group"` and `"matrix"` are llama-swap's own ways, `"auto"` is memory
          where devices can be measured and no groups are written, else groups. null leaves it to the service, which means `"auto"`.
        '';
    memory = {
      headroom = nullable size "Memory that stays free on each device.";
      hostHeadroom = nullable size "Memory of the machine that stays free.";
      minResidency = nullable duration "How long an idle model stays after it became ready, unless somebody has waited for its place for long.";
      releaseTimeout = nullable duration "How long the memory of a model that has ended is waited for.";
      readAhead = nullable types.bool "Read the file of the next model while others make room for it.";
      askLlamaCpp = nullable types.bool "Ask llama.cpp what a model needs, where `llama-fit-params` is beside llama-server.";
      learned = nullable types.str ''
        File that keeps what models were seen to take; null is `/var/lib/llama-swap/footprints.json`, an empty string keeps it in memory.
      '';
    };
    fairShare = nullable duration "How far requests of a caller that had more than its share are put behind those of others at most; callers are told apart by their API keys.";
    keepAlive = {
      honour = nullable types.bool "Do as `keep_alive` and `ttl` in requests say. They are never passed on to a model.";
      max = nullable duration "Longest time that a request may keep a model loaded; 0 is no limit.";
    };
  };

  config.services.llama-swap.settings = lib.mkMerge [
    (lib.mkIf (cfg.router != null) (low {
      routing.router.use = cfg.router;
    }))
    (lib.mkIf (fit != { }) (low {
      routing.router.settings = { inherit fit; };
    }))
    (lib.mkIf (cfg.fairShare != null) (low {
      routing.scheduler.settings.fifo.fairShare = seconds cfg.fairShare;
    }))
    (lib.mkIf (keepAlive != { }) (low {
      inherit keepAlive;
    }))
  ];
}
