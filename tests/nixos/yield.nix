# The devices belong to another unit while it runs. The scenario writes the key, so the first start of the service fails, as it should.
{ pkgs, models, ... }:
{
  scenario = "yield";
  machine = {
    services.llama-swap = {
      enable = true;
      apiKeyFiles = [ "/run/llama-swap-key" ];
      models.alpha = {
        path = "${models}/alpha.gguf";
        pin = true;
      };
      models.beta.path = "${models}/beta.gguf";
      yield = {
        drain = 1;
        returnAfter = 1;
        whileUnits = [ "game.service" ];
      };
    };
    systemd.services.game = {
      description = "A program that wants the GPU for itself";
      serviceConfig.ExecStart = "${pkgs.coreutils}/bin/sleep infinity";
    };
  };
}
