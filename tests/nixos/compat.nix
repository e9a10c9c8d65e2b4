# A configuration written for nixpkgs' module.
{
  lib,
  pkgs,
  models,
}:
{
  scenario = "compat";
  machine.services.llama-swap = {
    enable = true;
    listenAddress = "localhost";
    port = 8080;
    settings.models.alpha = {
      cmd = "${lib.getExe' pkgs.llama-cpp "llama-server"} --port \${PORT} -m ${models}/alpha.gguf -ngl 0 --no-webui";
      aliases = [ "the-best" ];
    };
  };
}
