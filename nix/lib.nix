# Pure renderers: Nix values in, the words of a llama-server command line out. No pkgs, so `lib.runTests` covers all of it.
{ lib }:
let
  inherit (lib)
    concatMap
    concatStringsSep
    escapeRegex
    hasPrefix
    isAttrs
    isBool
    isFloat
    isInt
    isList
    optional
    optionals
    replaceStrings
    ;

  # Long options of llama-server that have a `--no-` twin; for any other, false means "leave it out".
  negatable = [
    "cache-idle-slots"
    "cache-prompt"
    "cont-batching"
    "context-shift"
    "direct-io"
    "escape"
    "jinja"
    "kv-offload"
    "kv-unified"
    "mmap"
    "mmproj"
    "mmproj-offload"
    "models-autoload"
    "op-offload"
    "perf"
    "prefill-assistant"
    "reasoning-preserve"
    "repack"
    "slots"
    "ui"
    "warmup"
    "webui"
  ];

  # Words made of these need no quotes: llama-swap's splitter treats none of them specially. A macro such as ${PORT} stays bare, too.
  bareWord = "([a-zA-Z0-9_@%+=:,./~^-]|[$][{][a-zA-Z0-9_.-]+[}])+";

  secondsPerUnit = {
    s = 1;
    m = 60;
    h = 3600;
    d = 86400;
  };

  self = {
    inherit negatable;

    # One argument, quoted for llama-swap's own splitter (not a shell): inside '...' everything is literal, adjacent quoted parts join.
    # That splitter first drops lines starting with '#' and turns a '\' at the end of a line into a space, even inside quotes.
    # An empty pair of quotes on both sides of each newline keeps such lines intact.
    quoteArg =
      arg:
      let
        text = toString arg;
      in
      if builtins.match bareWord text != null then
        text
      else
        "'${replaceStrings [ "'" "\n" ] [ "'\\''" "''\n''" ] text}'";

    # argv -> the string for `cmd`.
    renderCommand = argv: concatStringsSep " " (map self.quoteArg argv);

    # A scalar as llama-server reads it. Floats go through JSON: `toString 0.95` is "0.950000" and `toString 1e-7` is "0.000000".
    renderScalar =
      value:
      if isFloat value || isInt value then
        builtins.toJSON value
      else if isBool value then
        lib.boolToString value
      else
        "${value}";

    # One long option with its value: true is the bare flag, false its `--no-` twin where there is one, null nothing,
    # a list is comma-joined (llama.cpp's convention), an attribute set is JSON.
    renderFlag =
      name: value:
      if value == null then
        [ ]
      else if isBool value then
        if value then [ "--${name}" ] else optional (builtins.elem name negatable) "--no-${name}"
      else if isList value then
        optionals (value != [ ]) [
          "--${name}"
          (concatStringsSep "," (map self.renderScalar value))
        ]
      else if isAttrs value && !(lib.isDerivation value) then
        [
          "--${name}"
          (builtins.toJSON value)
        ]
      else
        [
          "--${name}"
          (self.renderScalar value)
        ];

    # Any long options as an attribute set, in alphabetical order.
    renderFlags =
      flags: concatMap (name: self.renderFlag name flags.${name}) (builtins.attrNames flags);

    # "1h", "1h30m", "90s" or a number of seconds -> seconds; null for anything else.
    parseDuration =
      value:
      let
        tokens = lib.filter isList (builtins.split "([0-9]+)([smhd])" value);
        seconds =
          token: lib.toIntBase10 (builtins.elemAt token 0) * secondsPerUnit.${builtins.elemAt token 1};
      in
      if isInt value then
        value
      else if builtins.match "[0-9]+" value != null then
        lib.toIntBase10 value
      else if builtins.match "([0-9]+[smhd])+" value != null then
        lib.foldl' (total: token: total + seconds token) 0 tokens
      else
        null;

    # The same for what may be absent.
    seconds = lib.mapNullable self.parseDuration;

    # "owner/name:quant" -> { repo, quant }.
    parseHf =
      text:
      let
        parts = lib.splitString ":" text;
      in
      {
        repo = builtins.head parts;
      }
      // lib.optionalAttrs (builtins.length parts > 1) {
        quant = concatStringsSep ":" (builtins.tail parts);
      };

    # Where a file of a Hugging Face repository lives.
    hfUrl =
      hf:
      "https://huggingface.co/${hf.repo}/resolve/${
        if hf.revision == null then "main" else hf.revision
      }/${hf.file}";

    # The arguments that say where the weights are. `fetch { url, sha256 }` gives a store path for a pinned download.
    sourceArgs =
      { fetch }:
      {
        hf ? null,
        url ? null,
        path ? null,
        sha256 ? null,
      }:
      let
        pin = if hf != null && hf.sha256 != null then hf.sha256 else sha256;
        # A hash or a revision without a file is refused by an assertion; here it must only not break the evaluation of that.
        hfFile = hf != null && hf.file != null;
        model = file: [
          "--model"
          "${file}"
        ];
        modelUrl = link: [
          "--model-url"
          link
        ];
      in
      if path != null then
        model (
          if pin == null then
            path
          else
            builtins.path {
              inherit path;
              name = lib.strings.sanitizeDerivationName (baseNameOf path);
              sha256 = pin;
              recursive = false;
            }
        )
      else if url != null then
        if pin == null then
          modelUrl url
        else
          model (fetch {
            inherit url;
            sha256 = pin;
          })
      else if hf == null then
        [ ]
      else if pin != null && hfFile then
        model (fetch {
          url = self.hfUrl hf;
          sha256 = pin;
        })
      else if hf.revision != null && hfFile then
        modelUrl (self.hfUrl hf)
      else
        [
          "--hf-repo"
          (if hf.quant == null then hf.repo else "${hf.repo}:${hf.quant}")
        ]
        ++ optionals hfFile [
          "--hf-file"
          hf.file
        ];

    # Sampling options under the names of the HTTP API, for `filters.setParamsByID`.
    samplingParams =
      sampling:
      lib.filterAttrs (_: value: value != null) {
        temperature = sampling.temp;
        top_p = sampling.topP;
        top_k = sampling.topK;
        min_p = sampling.minP;
        presence_penalty = sampling.presencePenalty;
        frequency_penalty = sampling.frequencyPenalty;
        repeat_penalty = sampling.repeatPenalty;
        inherit (sampling) seed;
      };

    # Long options named in an argument list, without the dashes: [ "--port" "1" "--x=2" ] -> [ "port" "x" ].
    flagNames =
      args:
      map (arg: builtins.head (lib.splitString "=" (lib.removePrefix "--" arg))) (
        lib.filter (hasPrefix "--") args
      );

    # Is this path inside the world-readable Nix store?
    inStore =
      path:
      builtins.isPath path
      || builtins.match "${escapeRegex builtins.storeDir}/.*" (toString path) != null;

    # Does a listen address accept connections from this machine only?
    isLoopback = address: builtins.match "localhost|127[.].*|::1|\\[::1]" address != null;

    # Does it stand for every address of the machine?
    isWildcard =
      address:
      builtins.elem address [
        ""
        "*"
        "0.0.0.0"
        "::"
        "[::]"
      ];

    # Is this an address, and not a name that somebody must look up?
    isAddress =
      address: builtins.match "[0-9]+([.][0-9]+){3}|\\[?[0-9a-fA-F:.]*:[0-9a-fA-F:.]*]?" address != null;

    # Can `socketAddresses` say it to systemd, which knows addresses and no names?
    isSocketAddress =
      address:
      builtins.elem address [
        ""
        "*"
        "localhost"
      ]
      || self.isAddress address;

    # What a systemd socket listens on. A lone port is every address.
    socketAddresses =
      address: port:
      if address == "localhost" then
        [
          (self.hostPort "127.0.0.1" port)
          (self.hostPort "::1" port)
        ]
      else if address == "" || address == "*" then
        [ (toString port) ]
      else
        [ (self.hostPort address port) ];

    # host:port, with the brackets an IPv6 address needs.
    hostPort =
      host: port:
      "${
        if builtins.match ".*:.*" host != null && !(hasPrefix "[" host) then "[${host}]" else host
      }:${toString port}";
  };
in
self
