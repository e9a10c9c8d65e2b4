# One model: where its weights are, its llama-server options, and llama-swap's own keys. Used for models, defaults and profiles alike.
{ lib, renderers }:
let
  inherit (lib) mkOption types;
  table = import ./llama-server.nix { inherit lib renderers; };
  inherit (import ./typed.nix { inherit lib renderers; })
    duration
    nullable
    size
    ;
  json = types.attrsOf types.anything;

  listOf =
    type: description:
    mkOption {
      type = types.listOf type;
      default = [ ];
      inherit description;
    };
  attrs =
    type: description:
    mkOption {
      inherit type description;
      default = { };
    };

  sha256 = nullable types.str "Hash of the file. With it the weights are fetched into the Nix store at build time and the service needs no network for them.";

  hf = types.coercedTo types.str renderers.parseHf (
    types.submodule {
      options = {
        repo = mkOption {
          type = types.strMatching "[^/: ]+/[^/: ]+";
          description = "Repository, `owner/name`.";
        };
        quant = nullable types.str "Quantisation to pick, for example `Q4_K_M`.";
        file = nullable types.str "File to pick; wins over `quant`.";
        revision = nullable types.str "Commit, tag or branch. Needs `file`.";
        inherit sha256;
      };
    }
  );

  tableOptions = lib.foldl' (
    options: entry:
    lib.recursiveUpdate options (
      lib.setAttrByPath entry.path (
        nullable entry.type entry.description
        // lib.optionalAttrs (entry ? default) { inherit (entry) default; }
      )
    )
  ) { } table;

  samplingOptions = lib.listToAttrs (
    map (entry: lib.nameValuePair (lib.last entry.path) (nullable entry.type entry.description)) (
      lib.filter (entry: builtins.head entry.path == "sampling") table
    )
  );
  variant = types.submodule {
    options = {
      sampling = samplingOptions;
      chatTemplateKwargs = attrs json "Arguments of the chat template for this name.";
      setParams = attrs json "Any other keys set in the request's body for this name.";
    };
  };
in
{
  inherit table;

  options = lib.recursiveUpdate tableOptions {
    hf = nullable hf "Weights on Hugging Face: `\"owner/name:quant\"`, or a set with `file` or `quant`.";
    url = nullable types.str "Weights at a URL; llama-server downloads them into the cache directory.";
    path = nullable (types.either types.path types.str) "Weights in a file on this machine (outside the store if it is a string).";
    inherit sha256;
    cmd = nullable (types.either types.str (types.listOf types.str)) ''
      The whole command instead of a source and options: a string as in llama-swap's own configuration,
      or a list of arguments that is quoted for you. `''${PORT}` stands for the port.
    '';
    package = nullable types.package "The llama.cpp of this model, if not `services.llama-swap.llamaCppPackage`.";
    mmproj = mkOption {
      type = types.nullOr (
        types.either types.bool (
          types.either (types.enum [ "auto" ]) (
            types.submodule {
              options = {
                url = nullable types.str "URL of the projector.";
                path = nullable (types.either types.path types.str) "Projector file.";
                inherit sha256;
              };
            }
          )
        )
      );
      default = null;
      description = "Multimodal projector: `\"auto\"` or null (llama-server's choice), false for none, or `{ url; }` or `{ path; }`.";
    };
    chatTemplate = nullable (types.either types.path types.str) ''
      Chat template: a file, the text of one (anything with a brace or a newline), or the name of a built-in one.
    '';
    flags = attrs (types.attrsOf types.anything) ''
      Any other long options of llama-server without the dashes: true is the bare flag, false the `--no-` form where there is one,
      a list is comma-joined, a set is JSON, numbers keep their digits.
    '';
    extraArgs = listOf types.str "Arguments passed as they are, after all others.";
    profiles = listOf types.str "Names of `services.llama-swap.profiles` to build on; later ones win over earlier ones.";
    variants = attrs (types.attrsOf variant) ''
      More names for the same process, each with its own sampling or template arguments: asking for one never swaps.
    '';

    name = nullable types.str "Name to show.";
    description = nullable types.str "Description to show.";
    aliases = listOf types.str "Other names of the model.";
    env = attrs (types.attrsOf (
      types.coercedTo types.int toString types.str
    )) "Environment of the process.";
    ttl = nullable duration "Unload after so long without a request; 0 is never, null takes the global value.";
    unloadTimeout = nullable duration "How long the process may take to stop.";
    healthCheckTimeout = nullable duration "How long the process may take to get ready (our own key).";
    priority = nullable types.int "Among waiting requests those of the model with the highest number go first.";
    vram = nullable (types.either size (types.attrsOf size)) ''
      Memory that it takes on the devices, as `"18GiB"`, by device as `{ "0" = "10GiB"; "1" = "8GiB"; }`, or 0 for none.
      Not needed: it is measured while the model runs, and found out from its file before.
    '';
    ram = nullable size "Memory of the machine that it takes beside that.";
    pin = nullable types.bool "Never evict it and never unload it for being idle.";
    evictCost =
      nullable (types.addCheck types.number (cost: cost >= 0) // { description = "number, from 0"; })
        "What it costs to evict it, in seconds, in place of the time that it takes to load weighted by its use.";
    concurrencyLimit = nullable types.ints.unsigned "Most requests at a time; more are answered with 429.";
    unlisted = nullable types.bool "Hide the model from `/v1/models`.";
    useModelName = nullable types.str "The model name sent to the process.";
    sendLoadingState = nullable types.bool "Stream progress while the model loads.";
    cmdStop = nullable types.str "Command that stops the process, instead of SIGTERM. `\${PID}` is the process.";
    proxy = nullable types.str "Where the process listens, if not `http://localhost:\${PORT}`.";
    checkEndpoint = nullable types.str "Path that answers 200 when the process is ready; `none` skips the probe.";
    metadata = attrs json "Anything to show under `meta.llamaswap` in `/v1/models`.";
    macros = attrs json "Macros of this model.";
    timeouts = attrs (types.attrsOf types.ints.unsigned) "Timeouts of the connection to the process, in seconds.";
    compat = attrs json "Compatibility switches of llama-swap.";
    filters = {
      stripParams = mkOption {
        type = types.coercedTo types.str (text: map lib.trim (lib.splitString "," text)) (
          types.listOf types.str
        );
        default = [ ];
        description = "Keys removed from the body of a request.";
      };
      setParams = attrs json "Keys set in the body of every request.";
      setParamsByID = attrs (types.attrsOf json) "Keys set by the name the client asked for; prefer `variants`.";
    };
    capabilities = {
      "in" = listOf (types.enum [
        "text"
        "audio"
        "image"
      ]) "What the model reads.";
      out = listOf (types.enum [
        "text"
        "audio"
        "image"
      ]) "What the model writes.";
      tools = nullable types.bool "Whether it calls tools.";
      reranker = nullable types.bool "Whether it reranks.";
      context = nullable types.ints.unsigned "Context length to announce.";
    };
  };
}
