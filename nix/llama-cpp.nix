# llama.cpp at the version of pins.json, on the recipe of the nixpkgs at hand.
{
  lib,
  config,
  fetchFromGitHub,
  llama-cpp,
  cudaSupport ? config.cudaSupport or false,
  rocmSupport ? config.rocmSupport or false,
  vulkanSupport ? false,
  # [ "8.6" ] builds for one generation of GPUs instead of all: minutes instead of an hour.
  cudaCapabilities ? null,
  # "znver2": build for one kind of CPU; null builds all variants and picks one when it starts.
  cpuArch ? null,
  # null leaves it to the recipe: on where no GPU backend is.
  blasSupport ? null,
  # llama-server's own web pages, at /upstream/<model>/. Off: they need Node.js, and a second hash that can go stale.
  withUI ? false,
  pins ? lib.importJSON ./pins.json,
}:
let
  recipe = llama-cpp.override (
    {
      inherit cudaSupport rocmSupport vulkanSupport;
    }
    // lib.optionalAttrs (blasSupport != null) { inherit blasSupport; }
  );
  shortRev = lib.substring 0 7 pins.rev;
  architectures = lib.concatMapStringsSep ";" (lib.replaceStrings [ "." ] [ "" ]) cudaCapabilities;

  # The recipe's flags that say the same thing as ours. It passes `version` as the build number, which must be an integer.
  replaced = [
    "-DLLAMA_BUILD_NUMBER"
    "-DLLAMA_BUILD_COMMIT"
    "-DLLAMA_BUILD_IS_DEV"
    "-DLLAMA_BUILD_UI"
    "-DLLAMA_USE_PREBUILT_UI"
  ]
  ++ lib.optional (cudaCapabilities != null) "-DCMAKE_CUDA_ARCHITECTURES"
  ++ lib.optional (cpuArch != null) "-DGGML_CPU_ALL_VARIANTS";
  keep = flag: !(lib.any (prefix: lib.hasPrefix prefix flag) replaced);

  # By name and not by identity: 26.05 and unstable take Node.js from different attributes.
  isNode =
    input:
    lib.hasPrefix "nodejs" (lib.getName input) || lib.hasPrefix "npm-config-hook" (lib.getName input);
in
recipe.overrideAttrs (
  old:
  {
    inherit (pins) version;
    # The version is in the name. A hash that was not updated with it would else silently yield the old source out of the store.
    src = fetchFromGitHub {
      owner = "ggml-org";
      repo = "llama.cpp";
      name = "llama.cpp-v${pins.version}-source";
      inherit (pins) rev hash;
    };
    patches = [ ];
    postPatch = "";

    nativeBuildInputs = lib.filter (input: withUI || !(isNode input)) (old.nativeBuildInputs or [ ]);
    npmDepsHash = if withUI then pins.npmDepsHash else null;
    npmRoot = if withUI then "tools/ui" else null;
    preConfigure = lib.optionalString withUI ''
      pushd tools/ui
      npm run build
      popd
    '';

    cmakeFlags =
      lib.filter keep (old.cmakeFlags or [ ])
      ++ [
        (lib.cmakeBool "LLAMA_BUILD_UI" withUI)
        (lib.cmakeBool "LLAMA_USE_PREBUILT_UI" false)
        (lib.cmakeBool "LLAMA_BUILD_IS_DEV" false)
        (lib.cmakeFeature "LLAMA_BUILD_NUMBER" (toString pins.build))
        (lib.cmakeFeature "LLAMA_BUILD_COMMIT" shortRev)
      ]
      ++ lib.optional (cudaCapabilities != null) (
        lib.cmakeFeature "CMAKE_CUDA_ARCHITECTURES" architectures
      )
      ++ lib.optionals (cpuArch != null) [
        (lib.cmakeBool "GGML_CPU_ALL_VARIANTS" false)
        (lib.cmakeFeature "CMAKE_C_FLAGS" "-march=${cpuArch}")
        (lib.cmakeFeature "CMAKE_CXX_FLAGS" "-march=${cpuArch}")
      ];

    # The recipe's own step would replace the `llama` program of newer releases by a link.
    postInstall = ''
      mkdir -p $out/include
      cp $src/include/llama.h $out/include/
    '';

    # The proof that this is the pinned source: the program says so itself.
    doInstallCheck = true;
    nativeInstallCheckInputs = [ ];
    installCheckPhase = ''
      runHook preInstallCheck
      $out/bin/llama-server --version 2>&1 | tee version
      grep -w ${toString pins.build} version
      runHook postInstallCheck
    '';

    passthru = (old.passthru or { }) // {
      inherit
        cudaSupport
        rocmSupport
        vulkanSupport
        pins
        ;
    };
    meta = (old.meta or { }) // {
      mainProgram = "llama-server";
    };
  }
  // lib.optionalAttrs (!withUI) { npmDeps = null; }
)
