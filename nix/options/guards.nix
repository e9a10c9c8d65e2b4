# Mistakes found while the system is evaluated, each with its fix. What only the program can know, `llama-swap check` finds at build time.
{
  config,
  lib,
  options,
  ...
}:
let
  cfg = config.services.llama-swap;
  renderers = import ../lib.nix { inherit lib; };
  # As people write it: what has another shape than it should is nothing here, and `llama-swap check` says so at build time.
  inherit (cfg) settings;
  set = value: if lib.isAttrs value then value else { };
  strings = value: if lib.isList value then lib.filter lib.isString value else [ ];
  models = lib.mapAttrs (_: set) (set (settings.models or { }));
  peers = lib.mapAttrs (_: set) (set (settings.peers or { }));
  ids = lib.attrNames models;
  quoted = names: lib.concatMapStringsSep ", " (name: "`${toString name}`") names;
  option = name: "services.llama-swap.${name}";

  duplicates =
    names: lib.attrNames (lib.filterAttrs (_: group: lib.length group > 1) (lib.groupBy lib.id names));
  # A model may repeat its own names; one with a macro in it is known to the program only.
  hasMacro = name: builtins.match ".*[$][{].*" name != null;
  otherNames =
    id: model:
    lib.unique (
      lib.filter (name: name != id && !(hasMacro name)) (
        map (lib.replaceStrings [ "\${MODEL_ID}" ] [ id ]) (
          strings (model.aliases or [ ]) ++ lib.attrNames (set (model.filters.setParamsByID or { }))
        )
      )
    );
  allNames = ids ++ lib.concatLists (lib.mapAttrsToList otherNames models);
  unknownIn = known: lib.filter (name: !(lib.elem name known) && !(hasMacro name));
  unknown = unknownIn allNames;

  groups = set (settings.groups or { }) // set (settings.routing.router.settings.groups or { });
  members = lib.concatMap (group: strings (group.members or [ ])) (lib.attrValues groups);
  preload = strings (settings.hooks.on_startup.preload or [ ]);
  unknownPreload = unknownIn (allNames ++ lib.attrNames (set (settings.selectors or { }))) preload;
  matrix = set (settings.matrix or (settings.routing.router.settings.matrix or { }));
  inMatrix = lib.filter lib.isString (lib.attrValues (set (matrix.vars or { })));

  sources =
    model:
    lib.filter (name: model.${name} != null) [
      "hf"
      "url"
      "path"
      "cmd"
    ];
  eachModel = check: lib.concatLists (lib.mapAttrsToList check cfg.models);
  optionArgs = model: renderers.flagNames model.extraArgs ++ lib.attrNames model.flags;
  reserved = model: lib.intersectLists [ "port" "host" ] (optionArgs model);
  pinned =
    model: if model.hf != null && model.hf.sha256 != null then model.hf.sha256 else model.sha256;

  modelAssertions = eachModel (
    id: model: [
      {
        assertion = lib.length (sources model) == 1;
        message = "${option "models"}.\"${id}\" needs exactly one of `hf`, `url`, `path` and `cmd`, but has ${
          if sources model == [ ] then "none" else quoted (sources model)
        }. Say where its weights are, or give the whole command.";
      }
      {
        assertion = reserved model == [ ];
        message = "${option "models"}.\"${id}\": ${
          quoted (map (name: "--${name}") (reserved model))
        } is set by the module. Remove it from `flags` or `extraArgs`; a process of your own takes `cmd`.";
      }
      {
        assertion = model.hf == null || model.hf.revision == null || model.hf.file != null;
        message = "${option "models"}.\"${id}\".hf.revision needs `hf.file`: llama-server cannot pick a quantisation at a revision. Name the file.";
      }
      {
        assertion = pinned model == null || model.hf == null || model.hf.file != null;
        message = "${option "models"}.\"${id}\": a hash needs a file, but `hf` names none. Set `hf.file` to the file the hash is of.";
      }
      {
        assertion =
          model.mmproj == null
          || !(lib.any (name: lib.hasPrefix "mmproj" name || name == "no-mmproj") (optionArgs model));
        message = "${option "models"}.\"${id}\" sets `mmproj` and an mmproj flag as well. Keep `mmproj`, with false for none.";
      }
      {
        assertion = lib.all (name: cfg.profiles ? ${name}) model.profiles;
        message = "${option "models"}.\"${id}\".profiles names ${
          quoted (lib.filter (name: !(cfg.profiles ? ${name})) model.profiles)
        }, which ${option "profiles"} does not have. It has ${quoted (lib.attrNames cfg.profiles)}.";
      }
    ]
  );

  apiKeys = if lib.isList (settings.apiKeys or [ ]) then settings.apiKeys or [ ] else [ ];
  secretValues = apiKeys ++ lib.mapAttrsToList (_: peer: peer.apiKey or null) peers;
  plainKey = key: if lib.isAttrs key then key.key or "" else key;
  inPlainText = lib.any (key: lib.isString key && key != "" && !(hasMacro key)) (
    map plainKey secretValues
  );
  secretFiles =
    cfg.apiKeyFiles
    ++ map (key: key.file) (lib.attrValues cfg.apiKeys)
    ++ lib.filter (file: file != null) (map (key: key.file or null) secretValues ++ [ cfg.tls.keyFile ])
    ++ lib.attrValues cfg.credentials
    ++ lib.optional (cfg.environmentFile != null) cfg.environmentFile;
  badCredentialNames = lib.filter (name: builtins.match "[A-Za-z_][A-Za-z0-9_]*" name == null) (
    lib.attrNames cfg.credentials
  );
  startPort = settings.startPort or 5800;
  negative = lib.filter (
    id: lib.isInt (models.${id}.concurrencyLimit or 0) && models.${id}.concurrencyLimit or 0 < 0
  ) ids;

  assertions = modelAssertions ++ [
    {
      assertion = duplicates allNames == [ ];
      message = "${option "models"}: ${quoted (duplicates allNames)} is the name of more than one model, alias or variant. Rename one of them.";
    }
    {
      assertion = unknown members == [ ];
      message = "${option "groups"}: unknown members ${quoted (unknown members)}. The models are ${quoted ids}.";
    }
    {
      assertion = duplicates members == [ ];
      message = "${option "groups"}: ${quoted (duplicates members)} is in more than one group (or twice in one). A model has one group.";
    }
    {
      assertion = unknown inMatrix == [ ];
      message = "${option "settings"}: the matrix names unknown models ${quoted (unknown inMatrix)}. The models are ${quoted ids}.";
    }
    {
      assertion = unknownPreload == [ ];
      message = "${option "preload"}: unknown models ${quoted unknownPreload}. The models are ${quoted ids}.";
    }
    {
      assertion = cfg.port < startPort || cfg.port >= startPort + lib.length ids;
      message = "${option "port"} ${toString cfg.port} is among the ports given to models (from ${toString startPort}). Choose another, or move `settings.startPort`.";
    }
    {
      assertion = cfg.socketActivation -> renderers.isSocketAddress cfg.listenAddress;
      message = "${option "listenAddress"} ${cfg.listenAddress} is a name, and a systemd socket listens on addresses only. Give an IP address, or turn off ${option "socketActivation"}.";
    }
    {
      assertion = cfg.tls.enable -> cfg.tls.certFile != null && cfg.tls.keyFile != null;
      message = "${option "tls"}.enable needs both `tls.certFile` and `tls.keyFile`.";
    }
    {
      assertion = lib.all (file: !(renderers.inStore file)) secretFiles;
      message = "${option "apiKeyFiles"}, `credentials`, `environmentFile`, `tls.keyFile` and files of keys in `settings` must not be in the Nix store, which everyone can read: ${quoted (lib.filter renderers.inStore secretFiles)}. Give a path as a string, such as one of sops-nix or agenix.";
    }
    {
      assertion = badCredentialNames == [ ];
      message = "${option "credentials"}: ${quoted badCredentialNames} cannot be the name of an environment variable. Use letters, digits and `_`.";
    }
    {
      assertion = (cfg.user == null) == (cfg.group == null);
      message = "${option "user"} and ${option "group"} go together: set both, or neither for a user that systemd makes up.";
    }
    {
      assertion = (cfg.package.meta.mainProgram or "llama-swap") == "llama-swap";
      message = "${option "package"} does not bring the program `llama-swap` (its meta.mainProgram is another). Remove the option to get this project's package.";
    }
    {
      assertion = !inPlainText;
      message = "${option "settings"} has a key of `apiKeys` or `peers` in plain text, which is in the Nix store for everyone to read. Put it into a file and name that in ${option "apiKeyFiles"}; for a peer name it in ${option "credentials"} and write `apiKey = \"\\\${env.NAME}\"`.";
    }
    {
      assertion =
        cfg.isOurs
        || !(lib.elem (settings.routing.router.use or null) [
          "auto"
          "fit"
        ]);
      message = "${option "router"}: the llama-swap of ${option "package"} knows groups and a matrix only. Remove ${option "package"}, or the router.";
    }
    {
      assertion = negative == [ ];
      message = "${option "models"}: concurrencyLimit of ${quoted negative} is below zero. Use 0 for the default or a positive number.";
    }
  ];

  # Compared as plain text: the names of a set cannot refer to store paths.
  commandOf =
    id:
    let
      cmd = models.${id}.cmd or null;
    in
    if lib.isString cmd then builtins.unsafeDiscardStringContext cmd else id;
  sameCommand = lib.filter (group: lib.length group > 1) (lib.attrValues (lib.groupBy commandOf ids));
  whiteNames = lib.filter (name: builtins.match ".*[[:space:]].*" name != null) (
    lib.concatMap (model: strings (model.aliases or [ ])) (lib.attrValues models)
  );
  # A word that names a secret, with a value of its own: `NAME=value`, `--name value`. Files and macros are not values.
  secretVariable =
    entry:
    builtins.match "[A-Z0-9_]*(KEY|TOKEN|SECRET|PASSWORD)=[^/].*" entry != null && !(hasMacro entry);
  secretFlag =
    id:
    builtins.match ".*--([a-z-]+-)?(key|token|secret|password)[ =]+'?[^-$'/ ].*" (commandOf id) != null;
  tellsSecrets = lib.filter (
    id: secretFlag id || lib.any secretVariable (strings (models.${id}.env or [ ]))
  ) ids;
  timeout = settings.healthCheckTimeout or 0;
  # Ours says so; of nixpkgs' recipe the flags do. null where neither does.
  cudaFlags = lib.filter (flag: lib.isString flag && lib.hasInfix "GGML_CUDA:" flag) (
    cfg.llamaCppPackage.cmakeFlags or [ ]
  );
  cudaSupport =
    cfg.llamaCppPackage.passthru.cudaSupport
      or (if cudaFlags == [ ] then null else lib.hasSuffix "TRUE" (lib.last cudaFlags));
  hasCuda = cudaSupport != null && cudaSupport;
  lacksCuda = cudaSupport != null && !cudaSupport;
  nvidia = lib.elem "nvidia" (config.services.xserver.videoDrivers or [ ]);
  graphics = config.hardware.graphics.enable or false;
  runsTyped = lib.any (model: model.cmd == null) (lib.attrValues cfg.models);
  inHome = file: lib.hasPrefix "/home/" file || lib.hasPrefix "/root/" file;
  filesOf =
    model:
    [
      (if pinned model == null then model.path else null)
      model.spec.draftModel
      model.chatTemplate
    ]
    ++ lib.optional (lib.isAttrs model.mmproj) model.mmproj.path
    ++ map (adapter: adapter.path) (if model.lora == null then [ ] else model.lora);
  homePaths = lib.filter inHome (
    # A Nix path is copied to the store, where the service can read it.
    eachModel (_: model: lib.filter lib.isString (filesOf model))
  );
  hiddenPaths = lib.filter (
    file: !(lib.any (dir: lib.hasPrefix "${lib.removeSuffix "/" dir}/" file) cfg.modelDirs)
  ) homePaths;

  # Options that the model itself sets (defaults and profiles reach every model, so those say nothing) and `cmd` makes void.
  writtenFor =
    id:
    lib.concatMap (
      definition: lib.attrNames (set (set definition).${id} or { })
    ) options.services.llama-swap.models.definitions;
  madeVoid = [
    "chatTemplate"
    "extraArgs"
    "flags"
    "mmproj"
    "package"
    "sha256"
  ]
  ++ map (entry: lib.head entry.path) (import ./llama-server.nix { inherit lib renderers; });
  voidOptions = lib.filterAttrs (_: names: names != [ ]) (
    lib.mapAttrs (
      id: model: if model.cmd == null then [ ] else lib.intersectLists madeVoid (writtenFor id)
    ) cfg.models
  );

  warnings =
    lib.optional (!(renderers.isLoopback cfg.listenAddress) && apiKeys == [ ])
      "${option "listenAddress"} is ${cfg.listenAddress} and there are no API keys: whoever reaches the port can use the models. Set ${option "apiKeyFiles"}, or listen on 127.0.0.1."
    ++
      lib.optional (tellsSecrets != [ ])
        "${option "models"}: the environment or the command of ${quoted tellsSecrets} seems to hold a secret in plain text, which is in the Nix store for everyone to read. Name its file in ${option "credentials"}, and write `\\\${env.NAME}` where it is needed."
    ++
      lib.optional (whiteNames != [ ])
        "${option "models"}: the aliases ${quoted whiteNames} contain white space. Clients cannot ask for such a name reliably; use `-` or `:`."
    ++
      lib.optional (settings ? ttl)
        "${option "settings"}.ttl: llama-swap has no such key at the top, so models are never unloaded by it. Use `globalTTL` (${option "globalTTL"} = ${builtins.toJSON settings.ttl})."
    ++
      lib.optional (runsTyped && hasCuda && !(nvidia && graphics))
        "${option "llamaCppPackage"} uses CUDA, but the NVIDIA driver is not set up: llama.cpp would run on the CPU. Set hardware.graphics.enable = true and services.xserver.videoDrivers = [ \"nvidia\" ]."
    ++
      lib.optional (runsTyped && lacksCuda && nvidia && cfg.gpu.backend != "vulkan")
        "The host has an NVIDIA driver, but ${option "llamaCppPackage"} has no CUDA support, so models run on the CPU. Set ${option "gpu"}.enable = true, or give a package with cudaSupport."
    ++
      lib.optional (lib.isInt timeout && timeout > 3600)
        "${option "healthCheckTimeout"} is over an hour, which only a download needs. Fetch the weights beforehand (`sha256` puts them into the store), and a model that hangs is noticed in minutes."
    ++ map (
      group:
      "${option "models"}: ${quoted group} run the same command, so asking for one unloads the other. Keep one and add the other names as `aliases` or `variants`."
    ) sameCommand
    ++
      lib.optional (cfg.hardening.enable && cfg.hardening.protectHome && hiddenPaths != [ ])
        "${option "models"}: ${quoted hiddenPaths} is under /home, which the service cannot see. Add its directory to ${option "modelDirs"}."
    ++ lib.mapAttrsToList (
      id: names:
      "${option "models"}.\"${id}\" gives the whole command in `cmd`, so ${quoted (lib.unique names)} changes nothing. Put it into `cmd`, or remove `cmd` and name the weights."
    ) voidOptions
    ++
      lib.optional (cfg.router == "fit" && cfg.groups != { })
        "${option "groups"} mean nothing with ${option "router"} = \"fit\": memory decides. Remove them (a model that must stay has `pin = true`), or the router."
    ++
      lib.optional (cfg.openFirewall && renderers.isLoopback cfg.listenAddress)
        "${option "openFirewall"} opens port ${toString cfg.port}, but ${option "listenAddress"} is ${cfg.listenAddress}, which nobody outside reaches. Listen on 0.0.0.0, or leave the firewall closed."
    ++
      lib.optional (!cfg.isOurs)
        "${option "package"} is another llama-swap: no check at build time, no watchdog, and every edit restarts it and drops the loaded models. Remove the option to get this project's package.";
in
{
  config = lib.mkIf cfg.enable { inherit assertions warnings; };
}
