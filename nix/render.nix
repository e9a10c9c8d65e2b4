# A typed model -> its entry in llama-swap's `models`. `pkgs` only fetches pinned weights and writes chat templates.
{
  lib,
  pkgs,
  renderers,
  table,
}:
let
  fetch =
    { url, sha256 }:
    pkgs.fetchurl {
      inherit url sha256;
      name = lib.strings.sanitizeDerivationName (baseNameOf (lib.head (lib.splitString "?" url)));
    };

  mmprojArgs =
    mmproj:
    if lib.isAttrs mmproj then
      let
        args = renderers.sourceArgs { inherit fetch; } {
          inherit (mmproj) url path sha256;
        };
      in
      map (
        word:
        {
          "--model" = "--mmproj";
          "--model-url" = "--mmproj-url";
        }
        .${word} or word
      ) args
    else
      lib.optional (lib.isBool mmproj && !mmproj) "--no-mmproj";

  chatTemplateArgs =
    id: template:
    if template == null then
      [ ]
    else if builtins.isPath template || lib.hasPrefix "/" template then
      [
        "--chat-template-file"
        "${template}"
      ]
    else if builtins.match ".*[{\n].*" template != null then
      [
        "--chat-template-file"
        "${pkgs.writeText (lib.strings.sanitizeDerivationName "${id}.jinja") template}"
      ]
    else
      [
        "--chat-template"
        template
      ];

  tableArgs =
    model:
    lib.concatMap (
      entry:
      let
        value = lib.getAttrFromPath entry.path model;
      in
      lib.optionals (value != null) (entry.args value)
    ) table;

  variantParams =
    variant:
    renderers.samplingParams variant.sampling
    // lib.optionalAttrs (variant.chatTemplateKwargs != { }) {
      chat_template_kwargs = variant.chatTemplateKwargs;
    }
    // variant.setParams;

  # Drop what is not set: null, and sets and lists with nothing in them.
  compact =
    attrs:
    compactOnce (
      lib.mapAttrs (
        _: value: if lib.isAttrs value && !lib.isDerivation value then compactOnce value else value
      ) attrs
    );
  compactOnce = lib.filterAttrs (_: value: value != null && value != [ ] && value != { });
in
rec {
  # The words of the command line; `--port` is always ours.
  argv =
    defaultPackage: id: model:
    [ (lib.getExe' (if model.package == null then defaultPackage else model.package) "llama-server") ]
    ++ renderers.sourceArgs { inherit fetch; } {
      inherit (model)
        hf
        url
        path
        sha256
        ;
    }
    ++ mmprojArgs model.mmproj
    ++ tableArgs model
    ++ chatTemplateArgs id model.chatTemplate
    ++ renderers.renderFlags model.flags
    ++ model.extraArgs
    ++ [
      "--port"
      "\${PORT}"
    ];

  command =
    defaultPackage: id: model:
    if model.cmd == null then
      renderers.renderCommand (argv defaultPackage id model)
    else if lib.isList model.cmd then
      renderers.renderCommand model.cmd
    else
      model.cmd;

  # The whole entry. `priority` is not part of it: llama-swap keeps priorities in the scheduler's settings.
  model =
    defaultPackage: id: model:
    compact {
      cmd = command defaultPackage id model;
      inherit (model)
        name
        description
        aliases
        concurrencyLimit
        unlisted
        useModelName
        sendLoadingState
        cmdStop
        proxy
        checkEndpoint
        metadata
        macros
        timeouts
        compat
        capabilities
        vram
        ram
        pin
        evictCost
        ;
      env = lib.mapAttrsToList (name: value: "${name}=${value}") model.env;
      ttl = renderers.seconds model.ttl;
      unloadTimeout = renderers.seconds model.unloadTimeout;
      healthCheckTimeout = renderers.seconds model.healthCheckTimeout;
      filters = {
        stripParams =
          if model.filters.stripParams == [ ] then
            null
          else
            lib.concatStringsSep "," model.filters.stripParams;
        inherit (model.filters) setParams;
        setParamsByID = model.filters.setParamsByID // lib.mapAttrs (_: variantParams) model.variants;
      };
    };
}
