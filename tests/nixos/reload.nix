# An edit reloads, and only what changed stops.
{ models, ... }:
{
  scenario = "reload";
  machine = {
    services.llama-swap = {
      enable = true;
      defaults.ctxSize = 2048;
      groups.both = {
        swap = false;
        members = [
          "alpha"
          "beta"
        ];
      };
      models.alpha.path = "${models}/alpha.gguf";
      models.beta.path = "${models}/beta.gguf";
    };
    specialisation.edited.configuration.services.llama-swap.models.beta.ctxSize = 1024;
    specialisation.more.configuration.services.llama-swap.models = {
      beta.ctxSize = 1024;
      gamma = {
        path = "${models}/beta.gguf";
        ctxSize = 512;
      };
    };
  };
}
