# Which GPU the models use, and what the unit must see of it.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.llama-swap;
  nvidia = lib.elem "nvidia" (config.services.xserver.videoDrivers or [ ]);
  cuda = cfg.gpu.backend == "cuda";
  # Vulkan on an NVIDIA card opens them, too. The last one is the GPU of Windows under WSL.
  nvidiaNodes = [
    "char-nvidiactl"
    "char-nvidia-caps"
    "char-nvidia-frontend"
    "char-nvidia-uvm"
    "/dev/dxg"
  ];
in
{
  options.services.llama-swap.gpu = {
    enable = mkOption {
      type = types.bool;
      default = config.hardware.graphics.enable or false;
      defaultText = lib.literalExpression "config.hardware.graphics.enable";
      description = "Let the models use the GPU. Without it the unit sees no device at all.";
    };
    backend = mkOption {
      type = types.enum [
        "cuda"
        "rocm"
        "vulkan"
      ];
      default = if nvidia then "cuda" else "vulkan";
      defaultText = lib.literalMD "`\"cuda\"` with an NVIDIA driver, `\"vulkan\"` otherwise";
      description = "Which llama.cpp to build by default, and how the unit is confined.";
    };
    libraryPath = mkOption {
      type = types.listOf types.str;
      default = [ "/run/opengl-driver/lib" ];
      description = ''
        Directories with the driver's libraries, as LD_LIBRARY_PATH. llama.cpp from nixpkgs finds them by itself;
        programs from elsewhere (prebuilt binaries, vLLM, NVML bindings) do not.
      '';
    };
    extraDevices = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "/dev/dxg" ];
      description = "More device nodes, in systemd's DeviceAllow syntax without the mode.";
    };
  };

  config.systemd.services.llama-swap = lib.mkIf (cfg.enable && cfg.gpu.enable) {
    environment = lib.mkIf (cfg.gpu.libraryPath != [ ]) {
      LD_LIBRARY_PATH = lib.concatStringsSep ":" cfg.gpu.libraryPath;
    };
    serviceConfig = {
      # The GPU forces this one: with PrivateDevices there is no /dev/nvidia*. DevicePolicy below lets nothing else in.
      PrivateDevices = false;
      DevicePolicy = "closed";
      DeviceAllow = map (device: "${device} rw") (
        lib.optionals (cuda || nvidia) nvidiaNodes
        ++ lib.optional (!cuda) "char-drm"
        ++ lib.optional (cfg.gpu.backend == "rocm") "char-kfd"
        ++ cfg.gpu.extraDevices
      );
      # /dev/dri/renderD* and /dev/kfd belong to these groups; NVIDIA's nodes are open to all.
      SupplementaryGroups = lib.mkIf (!cuda) [
        "render"
        "video"
      ];
    };
  };
}
