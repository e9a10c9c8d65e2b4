# A whole host with an NVIDIA card, evaluated by `nix flake check` down to its system: the GPU path without building CUDA.
_: {
  nixpkgs.hostPlatform = "x86_64-linux";
  nixpkgs.config = {
    cudaSupport = true;
    allowUnfree = true;
  };
  boot.loader.grub.enable = false;
  fileSystems."/" = {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
  };
  system.stateVersion = "26.05";

  hardware.graphics.enable = true;
  hardware.nvidia.open = true;
  services.xserver.videoDrivers = [ "nvidia" ];

  services.llama-swap = {
    enable = true;
    apiKeyFiles = [ "/run/secrets/llama-swap-key" ];
    globalTTL = "1h";
    defaults.gpu.layers = 99;
    models."qwen3:8b" = {
      hf = "unsloth/Qwen3-8B-GGUF:Q4_K_M";
      ctxSize = 32768;
      pin = true;
    };
    yield = {
      freeBelow = "4GiB";
      gamemode.enable = true;
      whileUnits = [ "ollama.service" ];
      apiKeyFile = "/run/secrets/llama-swap-desk-key";
    };
  };
}
