# `nix run .#demo`, `.#check-config`, `.#update-llama-cpp`.
{ pkgs, self }:
let
  inherit (pkgs) lib;
  service = self.packages.${pkgs.stdenv.hostPlatform.system}.llama-swap;
  app = description: name: runtimeInputs: text: {
    type = "app";
    program = lib.getExe (
      pkgs.writeShellApplication {
        inherit name runtimeInputs text;
        meta = {
          mainProgram = name;
          inherit description;
        };
      }
    );
    meta = { inherit description; };
  };
  # The service as a library, beside what writes tiny models.
  demoPython = pkgs.python3.withPackages (packages: [
    (packages.toPythonModule service)
    packages.gguf
  ]);
in
rec {
  default = {
    type = "app";
    program = lib.getExe service;
    meta.description = "The service itself";
  };
  demo = app "Two tiny real models behind one endpoint on 127.0.0.1:9292" "llama-swap-demo" [
    demoPython
    pkgs.llama-cpp
  ] ''exec python3 -m llama_swap.demo "$@"'';
  check-config = app "Check a configuration file" "llama-swap-check-config" [
    service
  ] ''exec llama-swap check "$@"'';
  update-llama-cpp = app "Move nix/pins.json to the newest release of llama.cpp" "update-llama-cpp" [
    pkgs.curl
    pkgs.jq
    pkgs.nix
  ] (builtins.readFile ./update-llama-cpp.sh);
}
