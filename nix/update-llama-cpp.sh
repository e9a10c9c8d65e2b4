# Usage: nix run .#update-llama-cpp [-- VERSION]
# Moves nix/pins.json to a release of llama.cpp (the newest, or the one named) in one step: version, build number, commit and
# hashes are fetched first and written together, so no pin can carry the hash of another version.
set -euo pipefail

pins=nix/pins.json
api=https://api.github.com/repos/ggml-org/llama.cpp
nix() { command nix --extra-experimental-features "nix-command flakes" "$@"; }
[[ -f $pins ]] || { echo "run this at the top of the repository: $pins is not here" >&2; exit 1; }

version=${1:-$(curl --fail --silent --show-error "$api/releases/latest" | jq --raw-output .tag_name)}
version=${version#v}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || { echo "'$version' is not a release such as 0.6.0" >&2; exit 1; }
if [[ $version == "$(jq --raw-output .version "$pins")" ]]; then
  echo "already at $version"
  exit 0
fi

rev=$(curl --fail --silent --show-error "$api/commits/v$version" | jq --raw-output .sha)
# A release says which nightly it is: bNNNNN is the build number that llama-server prints.
nightly=$(curl --fail --silent --show-error --location \
  "https://github.com/ggml-org/llama.cpp/releases/download/v$version/nightly-tag.txt")
[[ $nightly =~ b([0-9]+) ]] || { echo "the release names no nightly: '$nightly'" >&2; exit 1; }
build=${BASH_REMATCH[1]}

source=$(nix flake prefetch --json "github:ggml-org/llama.cpp/$rev")
hash=$(jq --raw-output .hash <<<"$source")
lock=$(jq --raw-output .storePath <<<"$source")/tools/ui/package-lock.json
npm=$(nix run --inputs-from . nixpkgs#prefetch-npm-deps -- "$lock")
for found in "$hash" "$npm"; do
  [[ $found == sha256-* ]] || { echo "not a hash: '$found'; nothing is changed" >&2; exit 1; }
done

jq --null-input --arg version "$version" --argjson build "$build" --arg rev "$rev" --arg hash "$hash" --arg npm "$npm" \
  '{version: $version, build: $build, rev: $rev, hash: $hash, npmDepsHash: $npm}' >"$pins.new"
mv "$pins.new" "$pins"
echo "llama.cpp is now at $version (build $build, ${rev:0:7}). Build it: nix build .#llama-cpp-cpu"
