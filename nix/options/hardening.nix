# What the unit may not do. Each switch says why one would turn it off.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.llama-swap;
  switch =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  cuda = cfg.gpu.enable && cfg.gpu.backend == "cuda";
in
{
  options.services.llama-swap.hardening = {
    enable = switch true "Confine the service. Off leaves a plain unit, for debugging only.";
    memoryDenyWriteExecute = switch (!cfg.gpu.enable || cuda) ''
      Forbid memory that is both writable and executable. Vulkan drivers compile shaders into such memory and some
      Python backends load libraries with executable stacks: both need this off.
    '';
    privateUsers = switch (!cfg.gpu.enable || cuda) ''
      Hide other users from the service. Access to /dev/dri and /dev/kfd through the groups render and video,
      which Vulkan and ROCm use, does not survive it.
    '';
    protectHome = switch true "Hide /home; directories in `modelDirs` stay readable. Turn it off if models write there.";
    restrictNetwork = switch false "Allow only loopback addresses. Right when all weights are local files and all clients too; downloads stop working.";
    protectControlGroups = switch true ''
      Give the service a view of its own control groups only (it needs them: each model runs in one). Takes systemd 257 or later.
    '';
  };

  config.systemd.services.llama-swap = lib.mkIf (cfg.enable && cfg.hardening.enable) {
    serviceConfig = lib.mkMerge [
      {
        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        LockPersonality = true;
        MemoryDenyWriteExecute = cfg.hardening.memoryDenyWriteExecute;
        NoNewPrivileges = true;
        PrivateMounts = true;
        PrivateTmp = true;
        PrivateUsers = cfg.hardening.privateUsers;
        ProtectClock = true;
        # Not true: that makes the tree read-only, and then there is no control group for each model.
        ProtectControlGroups = if cfg.hardening.protectControlGroups then "private" else false;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "strict";
        RemoveIPC = true;
        # Netlink lists network interfaces, for NCCL between several GPUs.
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ]
        ++ lib.optional cuda "AF_NETLINK";
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallErrorNumber = "EPERM";
        # @resources: llama.cpp pins threads and memory (--numa, --prio, --mlock).
        SystemCallFilter = [
          "@system-service @resources"
          "~@privileged"
        ];
        UMask = "0077";
        ProtectHome =
          if !cfg.hardening.protectHome then
            false
          else if cfg.modelDirs != [ ] then
            "tmpfs"
          else
            true;
        # The GPU driver reads /proc/driver/nvidia, and llama-server /proc/meminfo and /proc/cpuinfo to size itself.
        ProcSubset = "all";
      }
      (lib.mkIf (!cfg.gpu.enable) {
        PrivateDevices = true;
        DevicePolicy = "closed";
      })
      (lib.mkIf cfg.hardening.restrictNetwork {
        IPAddressDeny = "any";
        IPAddressAllow = "localhost";
      })
    ];
  };
}
