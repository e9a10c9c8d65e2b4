# A hanging service is restarted. The real time is 30 s; nobody has to wait for it here.
{ lib, models, ... }:
{
  scenario = "watchdog";
  machine = {
    services.llama-swap = {
      enable = true;
      models.alpha.path = "${models}/alpha.gguf";
    };
    systemd.services.llama-swap.serviceConfig.WatchdogSec = lib.mkForce 5;
  };
}
