# One mistake a case: the module that makes it, and a part of each message it must bring. Nothing else may be said.
{ lib, pkgs }:
let
  model = {
    hf = "o/n:Q4";
  };
  case =
    settings: expected:
    {
      assertions = [ ];
      warnings = [ ];
    }
    // expected
    // {
      module = lib.recursiveUpdate { services.llama-swap.enable = true; } settings;
    };
  swap = settings: case { services.llama-swap = settings; };
  asserts = settings: message: swap settings { assertions = [ message ]; };
  warns = settings: message: swap settings { warnings = [ message ]; };
  cuda = pkgs.llama-cpp // {
    passthru.cudaSupport = true;
  };
  cpuOnly = pkgs.llama-cpp // {
    passthru.cudaSupport = false;
  };
  nvidia = {
    hardware.graphics.enable = true;
    services.xserver.videoDrivers = [ "nvidia" ];
  };
in
{
  nothing-wrong = swap {
    models.a = model;
    preload = [ "a" ];
    groups.g.members = [ "a" ];
  } { };

  # Assertions.
  no-source = asserts {
    models.a.ctxSize = 0;
  } "needs exactly one of `hf`, `url`, `path` and `cmd`, but has none";
  two-sources = asserts {
    models.a = model // {
      cmd = "x --port \${PORT}";
    };
  } "but has `hf`, `cmd`";
  port-flag = asserts {
    models.a = model // {
      extraArgs = [
        "--port"
        "1"
      ];
    };
  } "`--port` is set by the module";
  host-flag = asserts {
    models.a = model // {
      flags.host = "::";
    };
  } "`--host` is set by the module";
  revision-without-file = asserts {
    models.a.hf = {
      repo = "o/n";
      revision = "main";
    };
  } "hf.revision needs `hf.file`";
  hash-without-file = asserts {
    models.a.hf = {
      repo = "o/n";
      sha256 = lib.fakeSha256;
    };
  } "a hash needs a file";
  mmproj-twice = asserts {
    models.a = model // {
      mmproj.url = "https://example.org/p.gguf";
      flags.no-mmproj = true;
    };
  } "sets `mmproj` and an mmproj flag as well";
  unknown-profile = asserts {
    models.a = model // {
      profiles = [ "fast" ];
    };
    profiles.slow = { };
  } "names `fast`, which services.llama-swap.profiles does not have. It has `slow`";
  alias-is-a-model = asserts {
    models.a = model // {
      aliases = [ "b" ];
    };
    models.b.hf = "o/b";
  } "`b` is the name of more than one model, alias or variant";
  variant-is-an-alias = asserts {
    models.a = model // {
      variants.low = { };
    };
    models.b = {
      hf = "o/b";
      aliases = [ "low" ];
    };
  } "`low` is the name of more than one";
  unknown-member = asserts {
    models.a = model;
    groups.g.members = [ "b" ];
  } "unknown members `b`. The models are `a`";
  member-of-two = asserts {
    models.a = model;
    groups.g.members = [ "a" ];
    groups.h.members = [ "a" ];
  } "`a` is in more than one group";
  unknown-preload = asserts {
    models.a = model;
    preload = [ "b" ];
  } "unknown models `b`. The models are `a`";
  unknown-in-matrix = asserts {
    models.a = model;
    settings.matrix.vars.x = "b";
  } "the matrix names unknown models `b`";
  port-among-models = asserts {
    models.a = model;
    port = 5800;
  } "5800 is among the ports given to models (from 5800)";
  socket-on-a-name = asserts {
    socketActivation = true;
    listenAddress = "models.example.org";
    apiKeyFiles = [ "/run/secrets/key" ];
  } "models.example.org is a name, and a systemd socket listens on addresses only";
  socket-on-localhost = swap {
    socketActivation = true;
    listenAddress = "localhost";
  } { };
  half-tls = asserts {
    tls = {
      enable = true;
      certFile = "/run/cert.pem";
    };
  } "needs both `tls.certFile` and `tls.keyFile`";
  key-in-store = asserts {
    apiKeyFiles = [ "${builtins.storeDir}/00000000000000000000000000000000-key" ];
  } "must not be in the Nix store";
  key-as-path = asserts { credentials.HF_TOKEN = ./cases.nix; } "must not be in the Nix store";
  environment-in-store = asserts {
    environmentFile = "${builtins.storeDir}/00000000000000000000000000000000-env";
  } "must not be in the Nix store";
  credential-name = asserts {
    credentials."hf-token" = "/run/secrets/hf";
  } "`hf-token` cannot be the name of an environment variable";
  user-without-group = asserts { user = "me"; } "go together";
  wrong-program = asserts {
    package = pkgs.llama-cpp // {
      meta.mainProgram = "llama-cli";
      passthru.llamaSwapUnit = true;
    };
  } "does not bring the program `llama-swap`";
  negative-limit = asserts {
    settings.models.a = {
      cmd = "x";
      concurrencyLimit = -1;
    };
  } "concurrencyLimit of `a` is below zero";

  # Warnings.
  open-without-keys = warns { listenAddress = "0.0.0.0"; } "there are no API keys";
  open-with-keys = swap {
    listenAddress = "0.0.0.0";
    apiKeyFiles = [ "/run/secrets/key" ];
  } { };
  white-alias = warns {
    models.a = model // {
      aliases = [ "my model" ];
    };
  } "`my model` contain white space";
  key-in-settings = asserts {
    settings.apiKeys = [ "sk-secret" ];
  } "has a key of `apiKeys` or `peers` in plain text";
  key-of-a-peer = asserts {
    settings.peers.p = {
      proxy = "https://example.org";
      apiKey = "sk-secret";
      models = [ "m" ];
    };
  } "for a peer name it in services.llama-swap.credentials";
  key-file-in-settings = asserts {
    settings.apiKeys = [ { file = "${builtins.storeDir}/00000000000000000000000000000000-key"; } ];
  } "must not be in the Nix store";
  tls-key-in-store = asserts {
    tls = {
      enable = true;
      certFile = "/run/cert.pem";
      keyFile = ./cases.nix;
    };
  } "must not be in the Nix store";
  secret-variable = warns {
    models.a = model // {
      env.HF_TOKEN = "hf_x";
    };
  } "of `a` seems to hold a secret in plain text";
  secret-flag = warns {
    models.a = model // {
      flags.api-key = "sk-x";
    };
  } "of `a` seems to hold a secret in plain text";
  no-secrets = swap {
    models.a = model // {
      env.HF_TOKEN = "\${env.HF_TOKEN}";
      env.SSL_KEY = "/run/key";
      flags = {
        hf-token = "\${env.HF_TOKEN}";
        ssl-key-file = "/run/key";
        keep-tokens = 5;
      };
    };
  } { };

  # What the program accepts, the module does.
  own-name-again = swap {
    models.a = model // {
      aliases = [
        "a"
        "q"
        "\${MODEL_ID}-long"
      ];
      variants.a = { };
      variants.q = { };
      filters.setParamsByID."\${MODEL_ID}-low".x = 1;
    };
    preload = [
      "a-low"
      "s"
    ];
    settings.selectors.s = {
      strategy = "pin";
      targets = [ "a" ];
    };
  } { };
  # What it refuses, it says better than an error of Nix.
  wrong-shapes = swap {
    settings = {
      models = {
        a = null;
        b.aliases = "c";
        c.filters = null;
        d.filters.setParamsByID = 3;
        e.env = "X=1";
        f.cmd = 5;
        g.capabilities = [ ];
      };
      groups.g.members = "a";
      groups.h = null;
      hooks.on_startup.preload = "a";
      matrix.vars = [ ];
      peers.p = null;
      selectors = [ ];
    };
  } { };
  key-from-environment = swap { settings.apiKeys = [ "\${env.KEY}" ]; } { };
  top-level-ttl = warns {
    settings.ttl = 3600;
  } "Use `globalTTL` (services.llama-swap.globalTTL = 3600)";
  cuda-without-driver = warns {
    models.a = model;
    llamaCppPackage = cuda;
  } "the NVIDIA driver is not set up";
  cuda-with-driver = case (
    nvidia
    // {
      services = nvidia.services // {
        llama-swap = {
          models.a = model;
        };
      };
    }
  ) { };
  driver-without-cuda = case (
    nvidia
    // {
      services = nvidia.services // {
        llama-swap = {
          models.a = model;
          llamaCppPackage = cpuOnly;
        };
      };
    }
  ) { warnings = [ "has no CUDA support" ]; };
  driver-with-a-recipe-without-cuda = case (
    nvidia
    // {
      services = nvidia.services // {
        llama-swap = {
          models.a = model;
          llamaCppPackage = pkgs.llama-cpp // {
            cmakeFlags = [ "-DGGML_CUDA:BOOL=FALSE" ];
          };
        };
      };
    }
  ) { warnings = [ "has no CUDA support" ]; };
  endless-health-check = warns { healthCheckTimeout = "8h"; } "is over an hour";
  same-command = warns {
    models.a = model;
    models.b = model;
  } "`a`, `b` run the same command";
  hidden-home = warns {
    models.a.path = "/home/me/m.gguf";
  } "is under /home, which the service cannot see";
  visible-home = swap {
    models.a.path = "/home/me/m.gguf";
    modelDirs = [ "/home/me" ];
  } { };
  hidden-home-of-a-part = warns {
    models.a = model // {
      lora = [ "/home/me/l.gguf" ];
      spec.draftModel = "/home/me/d.gguf";
      chatTemplate = "/root/t.jinja";
      mmproj.path = "/home/me/p.gguf";
    };
  } "`/home/me/d.gguf`, `/root/t.jinja`, `/home/me/p.gguf`, `/home/me/l.gguf` is under /home";
  visible-home-with-a-slash = swap {
    models.a.path = "/home/me/m.gguf";
    modelDirs = [ "/home/me/" ];
  } { };
  command-and-options = warns {
    defaults.ctxSize = 4096;
    models.a = {
      cmd = "x --port \${PORT}";
      threads = 8;
      gpu.layers = 99;
      ttl = 60;
    };
  } "gives the whole command in `cmd`, so `gpu`, `threads` changes nothing";
  command-and-defaults = swap {
    defaults.ctxSize = 4096;
    models.a.cmd = "x --port \${PORT}";
  } { };
  open-for-nobody = warns { openFirewall = true; } "which nobody outside reaches";
  go-package = warns { package = pkgs.llama-swap; } "is another llama-swap";
}
// import ./cases-memory.nix {
  inherit
    asserts
    case
    model
    pkgs
    swap
    warns
    ;
}
