{
  description = "llama-swap for NixOS: one OpenAI-compatible endpoint in front of llama.cpp models that swap on demand";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      # CUDA is unfree. It gets a nixpkgs of its own that says so, and nothing under `checks` refers to it.
      cudaPkgs =
        system:
        import nixpkgs {
          inherit system;
          config = {
            cudaSupport = true;
            allowUnfreePredicate = nixpkgs.legacyPackages.${system}._cuda.lib.allowUnfreeCudaPredicate;
          };
        };
      apps = import ./nix/apps.nix;
    in
    {
      nixosModules.default.imports = [ ./nixos-module.nix ];
      nixosModules.llama-swap.imports = [ ./nixos-module.nix ];

      # Quoting, durations and flags as functions, for configurations that build commands of their own.
      lib = import ./nix/lib.nix { inherit lib; };

      overlays.default = import ./nix/overlay.nix;

      packages = eachSystem (pkgs: rec {
        default = llama-swap;
        llama-swap = pkgs.callPackage ./nix/package.nix { };
        llama-cpp = (cudaPkgs pkgs.stdenv.hostPlatform.system).callPackage ./nix/llama-cpp.nix {
          cudaSupport = true;
        };
        llama-cpp-cuda = llama-cpp;
        llama-cpp-cpu = pkgs.callPackage ./nix/llama-cpp.nix { };
        llama-cpp-vulkan = pkgs.callPackage ./nix/llama-cpp.nix { vulkanSupport = true; };
        docs = import ./nix/docs.nix { inherit lib pkgs; };
      });
      # Heavy variants, out of the way of `nix flake check`.
      legacyPackages = eachSystem (pkgs: {
        llama-cpp-rocm = pkgs.callPackage ./nix/llama-cpp.nix { rocmSupport = true; };
      });

      apps = eachSystem (pkgs: apps { inherit pkgs self; });
      checks = eachSystem (pkgs: import ./nix/checks.nix { inherit pkgs self; });
      devShells = eachSystem (pkgs: {
        default = import ./nix/shell.nix { inherit pkgs; };
      });
      formatter = eachSystem (pkgs: pkgs.nixfmt-tree);

      nixosConfigurations.example = lib.nixosSystem {
        modules = [
          self.nixosModules.default
          ./nix/example-host.nix
        ];
      };
    };
}
