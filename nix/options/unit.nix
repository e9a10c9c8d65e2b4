# The systemd unit: how it starts, reloads, is watched and stops.
{ config, lib, ... }:
let
  cfg = config.services.llama-swap;
  renderers = import ../lib.nix { inherit lib; };
  address = renderers.hostPort cfg.listenAddress cfg.port;

  # Neither this machine alone nor every address: such an address comes with the network, which may be late.
  needsNetwork = !(renderers.isWildcard cfg.listenAddress || renderers.isLoopback cfg.listenAddress);
  online = lib.optional needsNetwork "network-online.target";
in
{
  options.services.llama-swap = {
    socketActivation = lib.mkEnableOption "a systemd socket: clients that connect while the service restarts wait instead of being refused";
    llamaServerOnPath = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Have `llama-server` of {option}`services.llama-swap.llamaCppPackage` on the unit's path, for commands that call it by name.
        Where every command is an absolute path, off means that no llama.cpp is built for nothing.
        The models themselves never decide this: an edit of a model must not change the unit, or it would restart the service.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.sockets.llama-swap = lib.mkIf cfg.socketActivation {
      description = "llama-swap's socket";
      wantedBy = [ "sockets.target" ];
      listenStreams = renderers.socketAddresses cfg.listenAddress cfg.port;
      # Bound even before the network has brought the address.
      socketConfig.FreeBind = true;
    };

    systemd.services.llama-swap = {
      description = "llama-swap, one OpenAI-compatible endpoint for many models";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ] ++ online ++ lib.optional cfg.socketActivation "llama-swap.socket";
      wants = online;
      requires = lib.optional cfg.socketActivation "llama-swap.socket";
      path = lib.optional cfg.llamaServerOnPath cfg.llamaCppPackage;

      # An edit of the configuration reloads; only a new package or a changed unit restarts.
      reloadTriggers = lib.mkIf cfg.isOurs [ cfg.configFile ];
      restartTriggers = lib.mkIf (!cfg.isOurs) [ cfg.configFile ];
      # One step: the old process drains and stops after the new system is in place, so that the gap is as short as it can be.
      stopIfChanged = false;
      # Starts that fail come 3, 5, 9, 17 and then 30 seconds apart: ten of them take longer than this interval, so the unit
      # keeps trying (an address or a device may come late) and only a storm of starts meets the limit.
      startLimitIntervalSec = 180;
      startLimitBurst = 10;

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
        RestartSteps = 4;
        RestartMaxDelaySec = 30;
        KillMode = "mixed";
        # Never computed from the models: the unit would change with them. While it drains, the service asks systemd for
        # more (EXTEND_TIMEOUT_USEC), so this bounds only one that has stopped answering.
        TimeoutStopSec = 90;
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
