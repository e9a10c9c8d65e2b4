# services.llama-swap: replaces the module of the same name in nixpkgs and keeps its options. Importable without flakes.
{
  disabledModules = [ "services/networking/llama-swap.nix" ];
  imports = [
    ./nix/options/service.nix
    ./nix/options/models.nix
    ./nix/options/memory.nix
    ./nix/options/yield.nix
    ./nix/options/gpu.nix
    ./nix/options/secrets.nix
    ./nix/options/storage.nix
    ./nix/options/hardening.nix
    ./nix/options/unit.nix
    ./nix/options/clients.nix
    ./nix/options/guards.nix
  ];
}
