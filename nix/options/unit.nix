# The systemd unit: how it starts, reloads, is watched and stops.
{ config, lib, ... }:
let
  cfg = config.services.llama-swap;
  renderers = import ../lib.nix { inherit lib; };
  address = renderers.hostPort cfg.listenAddress cfg.port;
  inherit (cfg) settings;

  stopTimes = lib.filter lib.isInt (
    [ (settings.unloadTimeout or 10) ]
    ++ lib.mapAttrsToList (_: model: model.unloadTimeout or 0) (settings.models or { })
  );
  # `llama-server` by name in a hand-written command needs it on the path; an absolute path does not, and then nothing is built for it.
  namedLlamaServer = lib.any (model: lib.hasPrefix "llama-server" (lib.trim (model.cmd or ""))) (
    lib.attrValues (settings.models or { })
  );
in
{
  options.services.llama-swap.socketActivation = lib.mkEnableOption "a systemd socket: clients that connect while the service restarts wait instead of being refused";

  config = lib.mkIf cfg.enable {
    systemd.sockets.llama-swap = lib.mkIf cfg.socketActivation {
      description = "llama-swap's socket";
      wantedBy = [ "sockets.target" ];
      listenStreams = [ address ];
    };

    systemd.services.llama-swap = {
      description = "llama-swap, one OpenAI-compatible endpoint for many models";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ] ++ lib.optional cfg.socketActivation "llama-swap.socket";
      requires = lib.optional cfg.socketActivation "llama-swap.socket";
      path = lib.optional (cfg.models != { } || namedLlamaServer) cfg.llamaCppPackage;

      # An edit of the configuration reloads; only a new package or a changed unit restarts.
      reloadTriggers = lib.mkIf cfg.isOurs [ cfg.configFile ];
      restartTriggers = lib.mkIf (!cfg.isOurs) [ cfg.configFile ];
      startLimitIntervalSec = 60;
      startLimitBurst = 5;

      serviceConfig = {
        ExecStart = lib.concatStringsSep " " (
          [ cfg.startCommand ]
          ++ lib.optional cfg.isOurs "serve"
          ++ [
            "--config /etc/llama-swap/config.yaml"
            "--listen ${address}"
          ]
          ++ lib.optional cfg.tls.enable "--tls-cert-file %d/tls-cert --tls-key-file %d/tls-key"
        );
        # The service says when it is ready, reloading and stopping; `systemctl reload` waits for the outcome.
        Type = if cfg.isOurs then "notify-reload" else "exec";
        SyslogIdentifier = "llama-swap";
        Restart = "on-failure";
        RestartSec = 3;
        KillMode = "mixed";
        # Room for the requests in flight and then for the models to stop.
        TimeoutStopSec = 30 + lib.foldl' lib.max 0 stopTimes;
        # The kernel killing one model for memory must not stop the others.
        OOMPolicy = "continue";
        # CUDA pins host memory and `--mlock` locks the weights; the default of 8 MiB shows up as a GPU out of memory.
        LimitMEMLOCK = "infinity";
        LimitNOFILE = 65536;
        # A control group for each model, so that nothing it started outlives it.
        Delegate = true;
      }
      // lib.optionalAttrs cfg.isOurs {
        NotifyAccess = "main";
        WatchdogSec = 30;
        # EX_CONFIG: starting again cannot mend a configuration.
        RestartPreventExitStatus = 78;
      };
    };
  };
}
