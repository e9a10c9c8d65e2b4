# Start, swap, idle time, control groups, kill -9.
{ models, ... }:
{
  scenario = "swap";
  machine.services.llama-swap = {
    enable = true;
    globalTTL = 3;
    defaults.ctxSize = 2048;
    models.alpha.path = "${models}/alpha.gguf";
    models.beta.path = "${models}/beta.gguf";
  };
}
