# Where downloads and state live, and whose they are.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.llama-swap;
  cacheName = if cfg.useLlamaCppCacheDir then "llama-cpp" else "llama-swap";
  cacheDir = if cfg.cacheDir == null then "/var/cache/${cacheName}" else cfg.cacheDir;
  inHome =
    path:
    lib.any (home: lib.hasPrefix home path) [
      "/home/"
      "/root/"
      "/run/user/"
    ];
in
{
  options.services.llama-swap = {
    useLlamaCppCacheDir = mkOption {
      type = types.bool;
      default = false;
      description = "Share the cache directory of {option}`services.llama-cpp` instead of having one of our own.";
    };
    cacheDir = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/mnt/models/cache";
      description = "Where llama-server keeps downloads, if not in `/var/cache`. The directory must exist and be writable for the service's user.";
    };
    modelDirs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "/home/me/models" ];
      description = "Directories with weights that the service may read although the unit hides them, such as those under /home.";
    };
    user = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "User to run as; null lets systemd make one up (DynamicUser). Set {option}`services.llama-swap.group`, too.";
    };
    group = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Group to run as; see {option}`services.llama-swap.user`.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.services.llama-swap = {
      environment = {
        HOME = "/var/lib/llama-swap";
        LLAMA_CACHE = cacheDir;
        HF_HOME = cacheDir;
        # The driver compiles kernels for the GPU it finds; without a place to keep them it does so at every start.
        CUDA_CACHE_PATH = "${cacheDir}/cuda";
      };
      serviceConfig = {
        CacheDirectory = cacheName;
        CacheDirectoryMode = "0750";
        StateDirectory = "llama-swap";
        StateDirectoryMode = "0750";
        RuntimeDirectory = "llama-swap";
        WorkingDirectory = "/var/lib/llama-swap";
        ReadWritePaths = lib.mkIf (cfg.cacheDir != null) [ cfg.cacheDir ];
        # "-": a directory that is not there today must not stop the service.
        BindReadOnlyPaths = lib.mkIf (cfg.modelDirs != [ ]) (
          map (path: "-${path}") (lib.filter inHome cfg.modelDirs)
        );
        DynamicUser = cfg.user == null;
      }
      // lib.optionalAttrs (cfg.user != null) {
        User = cfg.user;
        Group = cfg.group;
      };
    };
    users = lib.mkIf (cfg.user == "llama-swap" && cfg.group == "llama-swap") {
      users.llama-swap = {
        isSystemUser = true;
        group = "llama-swap";
      };
      groups.llama-swap = { };
    };
  };
}
