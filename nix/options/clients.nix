# Ready-made client configurations, so that what clients list cannot drift from what the service has.
{
  config,
  lib,
  options,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.llama-swap;
  renderers = import ../lib.nix { inherit lib; };
  inherit (import ./typed.nix { inherit lib renderers; }) low;
  set = value: if lib.isAttrs value then value else { };
  isChosen = options.services.llama-swap.publicUrl.highestPrio < (lib.mkOptionDefault null).priority;
  hostOf = builtins.match "[a-z]+://([a-zA-Z0-9.-]+)([:/].*)?" cfg.publicUrl;
  chosenHost = if isChosen && hostOf != null then lib.head hostOf else null;

  # What one request can use: parallel sequences share the context.
  typedContext =
    id:
    let
      typed = cfg.models.${id} or null;
      share = if typed.parallel == null then 1 else typed.parallel;
      positive = lib.filter (value: value != null && value > 0);
      candidates = lib.optionals (typed != null) (positive [
        typed.ctxSize
        typed.fit.ctx
      ]);
    in
    if candidates == [ ] then null else lib.head candidates / share;

  entry =
    id: name: model:
    let
      capabilities = set (model.capabilities or { });
      context = capabilities.context or (typedContext id);
    in
    {
      inherit id context;
      name = if name != null then name else model.name or id;
      input = capabilities."in" or [ "text" ];
      tools = capabilities.tools or null;
      embeddings = lib.elem true [ (cfg.models.${id} or { embeddings = null; }).embeddings ];
    };

  # A model under its own id, and under the names that change what it does. Aliases are left out: they are the same thing twice.
  entries = lib.concatLists (
    lib.mapAttrsToList (
      id: model:
      lib.optionals (!(model.unlisted or false)) (
        [ (entry id null model) ]
        ++ map (
          variant:
          entry id null model
          // {
            id = variant;
            name = variant;
          }
        ) (lib.filter (variant: variant != id) (lib.attrNames (set (model.filters.setParamsByID or { }))))
      )
    ) (set (cfg.settings.models or { }))
  );
  chat = lib.filter (model: !model.embeddings) entries;
  limit = model: lib.optionalAttrs (model.context != null);
  clientOption =
    description: default:
    mkOption {
      type = types.attrsOf types.anything;
      readOnly = true;
      inherit default description;
      defaultText = lib.literalMD "generated from {option}`services.llama-swap.settings.models`";
    };
in
{
  options.services.llama-swap = {
    publicUrl = mkOption {
      type = types.str;
      default =
        let
          name = config.networking.hostName or "";
          host =
            if !(renderers.isWildcard cfg.listenAddress) then
              cfg.listenAddress
            else if name == "" then
              "localhost"
            else
              name;
        in
        "${if cfg.tls.enable then "https" else "http"}://${renderers.hostPort host cfg.port}";
      defaultText = lib.literalMD "from `listenAddress`, `port` and `tls`; the host's name when listening everywhere";
      description = "Where clients reach the service.";
    };
    clients = {
      openai =
        clientOption
          "For any OpenAI client: `base_url` and `models`, each with `id`, `name`, `context` (null if unknown), `input`, `tools` and `embeddings`."
          {
            base_url = "${cfg.publicUrl}/v1";
            models = entries;
          };
      opencode = clientOption "For opencode: merge into `opencode.json`." {
        provider.llama-swap = {
          npm = "@ai-sdk/openai-compatible";
          name = "llama-swap";
          options.baseURL = "${cfg.publicUrl}/v1";
          models = lib.listToAttrs (
            map (
              model:
              lib.nameValuePair model.id (
                {
                  inherit (model) name;
                }
                // limit model {
                  limit = {
                    inherit (model) context;
                    # Room for an answer; the rest is for what the client sends.
                    output = lib.min 8192 (model.context / 4);
                  };
                }
                // lib.optionalAttrs (model.tools != null) { tool_call = model.tools; }
                // lib.optionalAttrs (lib.elem "image" model.input) { attachment = true; }
              )
            ) chat
          );
        };
      };
      pi = clientOption "For pi: `~/.pi/agent/models.json`." {
        providers.llama-swap = {
          baseUrl = "${cfg.publicUrl}/v1";
          api = "openai-completions";
          # pi refuses an empty key. With keys on, set it to the name of a variable that holds one.
          apiKey = "none";
          models = map (
            model:
            {
              inherit (model) id name;
              input = lib.filter (
                kind:
                lib.elem kind [
                  "text"
                  "image"
                ]
              ) model.input;
            }
            // limit model { contextWindow = model.context; }
          ) chat;
        };
      };
    };
  };

  # A name that was chosen for clients is one that browsers may use, too.
  config.services.llama-swap.settings = lib.mkIf (chosenHost != null && cfg.isOurs) (low {
    allowedHosts = [ chosenHost ];
  });
}
