# The port is closed from outside until `openFirewall`.
{ models, ... }:
{
  scenario = "firewall";
  machine = {
    services.llama-swap = {
      enable = true;
      listenAddress = "0.0.0.0";
      models.alpha.path = "${models}/alpha.gguf";
    };
    specialisation.opened.configuration.services.llama-swap.openFirewall = true;
  };
}
