# An API key from a credential. The scenario writes the file, so the first start of the unit fails, as it should.
{ models, ... }:
{
  scenario = "secrets";
  machine.services.llama-swap = {
    enable = true;
    apiKeyFiles = [ "/run/llama-swap-key" ];
    models.alpha.path = "${models}/alpha.gguf";
  };
}
