# Our packages under names that nixpkgs does not use: Go llama-swap and the host's own llama-cpp stay what they are.
final: _prev: {
  llama-swap-py = final.callPackage ./package.nix { };
  llama-cpp-pinned = final.callPackage ./llama-cpp.nix { };
}
