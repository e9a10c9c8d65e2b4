# systemd's own measure of the unit, with and without a GPU, and socket activation.
{ models, ... }:
{
  scenario = "hardening";
  machine = {
    services.llama-swap = {
      enable = true;
      models.alpha.path = "${models}/alpha.gguf";
    };
    specialisation.gpu.configuration.services.llama-swap.gpu = {
      enable = true;
      backend = "cuda";
    };
    specialisation.socket.configuration.services.llama-swap.socketActivation = true;
  };
}
