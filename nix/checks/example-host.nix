# The example host, evaluated down to its system. The context is dropped so that nothing of it is built: CUDA stays out of the checks.
{ pkgs, self, ... }:
pkgs.writeText "example-host" (
  builtins.unsafeDiscardStringContext self.nixosConfigurations.example.config.system.build.toplevel.drvPath
)
