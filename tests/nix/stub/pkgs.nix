# A nixpkgs small enough to be written down: real derivations that any machine with Nix and a few tools in /usr/bin can build
# without a sandbox, and stand-ins for what only nixpkgs can build. Evaluation needs nothing at all.
{
  lib,
  system ? builtins.currentSystem,
  # Where the real programs are, for machines that run what was evaluated.
  llamaSwapProgram ? "/usr/bin/llama-swap",
  llamaServerProgram ? "/usr/bin/llama-server",
  config ? { },
}:
let
  # A derivation as stdenv makes it, as far as anyone here looks.
  mkDerivation =
    attrs:
    let
      name = attrs.name or "${attrs.pname}-${attrs.version}";
      build = derivation {
        inherit name system;
        builder = "/bin/sh";
        PATH = "/usr/bin:/bin";
        args = [
          "-euc"
          (attrs.buildCommand or "mkdir -p $out/bin")
        ];
      };
    in
    attrs
    // build
    // {
      inherit name;
      meta = attrs.meta or { };
      passthru = attrs.passthru or { };
      outputs = [ "out" ];
      override = extra: mkDerivation (attrs // { overridden = extra; });
      overrideAttrs =
        change:
        mkDerivation (
          attrs // (if lib.isFunction (change attrs) then change attrs attrs else change attrs)
        );
    }
    // attrs.passthru or { };

  link =
    name: program: target: extra:
    mkDerivation (
      {
        inherit name;
        buildCommand = "mkdir -p $out/bin; ln -s ${target} $out/bin/${program}";
      }
      // extra
    );

  runCommand =
    name: env: script:
    derivation (
      {
        inherit name system;
        builder = "/bin/sh";
        PATH = "/usr/bin:/bin";
        args = [
          "-euc"
          script
        ];
      }
      // env
    );
  textFile =
    name: text: mode:
    runCommand name {
      inherit text;
      passAsFile = [ "text" ];
    } ''cp "$textPath" $out; chmod ${mode} $out'';

  # Of nixpkgs' YAML format only the type is used.
  value =
    types:
    (types.nullOr (
      types.oneOf [
        types.bool
        types.int
        types.float
        types.str
        types.path
        (types.attrsOf (value types))
        (types.listOf (value types))
      ]
    ))
    // {
      description = "YAML value";
    };
  format = {
    type = value lib.types;
    generate =
      name: settings:
      runCommand name {
        text = builtins.toJSON settings;
        passAsFile = [ "text" ];
      } ''python3 -m json.tool --no-ensure-ascii "$textPath" $out'';
  };

  # Python packages, by name: all that pyproject.toml names, and what builds and tests them.
  requirements = import ../../../nix/requirements.nix { inherit lib; };
  anyPackage = lib.genAttrs (
    requirements.of [
      "demo"
      "lint"
      "speed"
      "test"
    ]
    ++ [
      "hatchling"
      "pytestCheckHook"
    ]
  ) (pname: mkDerivation { name = pname; });
  tool = name: link name name "/usr/bin/${name}" { meta.mainProgram = name; };

  self = {
    inherit
      lib
      config
      system
      runCommand
      ;
    callPackage = lib.callPackageWith self;
    stdenv.hostPlatform = {
      inherit system;
      isLinux = true;
      isx86_64 = system == "x86_64-linux";
    };
    formats = {
      json = _: format;
      yaml = _: format;
    };
    writeText = name: text: textFile name text "444";
    writeShellScript = name: text: textFile name "#!/bin/sh\n${text}" "555";
    writeShellApplication =
      { name, text, ... }@attrs:
      link name name (textFile name "#!/bin/sh\n${text}" "555") { meta = attrs.meta or { }; };
    fetchurl =
      {
        url,
        sha256,
        name ? baseNameOf url,
      }:
      import <nix/fetchurl.nix> { inherit url sha256 name; };
    fetchFromGitHub =
      args:
      derivation {
        name = args.name or "source";
        inherit system;
        inherit (args) rev;
        builder = "/bin/false";
        outputHashMode = "recursive";
        outputHashAlgo = "sha256";
        outputHash = args.hash;
      };
    coreutils = runCommand "coreutils" { } "mkdir $out; ln -s /usr/bin $out/bin";

    python3Packages = anyPackage // {
      toPythonModule = package: package;
      # The service as it is installed on the machine at hand.
      buildPythonApplication =
        attrs:
        link "${attrs.pname}-${attrs.version}" "llama-swap" llamaSwapProgram {
          inherit (attrs) meta passthru;
          arguments = attrs;
        };
    };
    python3 = tool "python3" // {
      withPackages =
        choose:
        mkDerivation {
          name = "python3-with-${toString (lib.length (choose self.python3Packages))}-packages";
        };
    };

    # Shaped like nixpkgs' recipe as far as llama-cpp.nix looks at it.
    llama-cpp = link "llama-cpp-9190" "llama-server" llamaServerProgram {
      pname = "llama-cpp";
      version = "9190";
      nativeBuildInputs = map (pname: mkDerivation { name = "${pname}-1.0"; }) [
        "cmake"
        "nodejs-slim"
        "npm-config-hook"
        "ninja"
      ];
      cmakeFlags = [
        "-DGGML_NATIVE:BOOL=FALSE"
        "-DLLAMA_BUILD_NUMBER:STRING=9190"
        "-DCMAKE_CUDA_ARCHITECTURES:STRING=75;80;86;89;90"
        "-DGGML_CPU_ALL_VARIANTS:BOOL=TRUE"
      ];
      npmDepsHash = "sha256-WaEePrEZ7O/7deP2KJhe0AwiSKYA8HOqETmMHUkmBe0=";
      npmRoot = "tools/server/webui";
      meta.mainProgram = "llama-cli";
    };
    llama-swap = link "llama-swap-224" "llama-swap" "/bin/false" {
      meta.mainProgram = "llama-swap";
    };
    nixosOptionsDoc = throw "docs are rendered by nix/docs.nix";
    testers.runNixOSTest =
      test:
      mkDerivation {
        name = "vm-test-run-${test.name}";
        inherit test;
      };
    _cuda.lib.allowUnfreeCudaPredicate = _: true;
    mkShellNoCC = attrs: mkDerivation ({ name = "shell"; } // attrs);
  }
  // lib.genAttrs [
    "cacert"
    "curl"
    "deadnix"
    "diffutils"
    "git"
    "jq"
    "mypy"
    "nix"
    "nixfmt"
    "nixfmt-tree"
    "openssl"
    "ruff"
    "shellcheck"
    "statix"
    "systemd"
  ] tool;
in
self
