# The devices belong to whoever sits at the machine: leaving them to a game or to another program, and taking them back.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.llama-swap;
  own = cfg.yield;
  renderers = import ../lib.nix { inherit lib; };
  inherit (import ./typed.nix { inherit lib renderers; })
    duration
    given
    low
    nullable
    size
    ;
  option = name: "services.llama-swap.yield.${name}";

  unitName =
    types.strMatching ''[a-zA-Z0-9:_.\\-]+(@[a-zA-Z0-9:_.\\-]+)?[.](service|target|scope|slice|mount|device|socket|path|timer)''
    // {
      description = "name of a unit, such as \"game.service\"";
      descriptionClass = "noun";
    };
  listOfUnits =
    example: description:
    mkOption {
      type = types.listOf unitName;
      default = [ ];
      inherit example description;
    };

  isKeyed = lib.isList (cfg.settings.apiKeys or null) && cfg.settings.apiKeys != [ ];
  keyFiles = cfg.apiKeyFiles ++ map (key: key.file) (lib.attrValues cfg.apiKeys);
  # systemd reads it as root for a unit of the system; a unit or a program of a user needs a file that the user can read.
  systemKeyFile =
    if own.apiKeyFile != null then
      own.apiKeyFile
    else if keyFiles != [ ] then
      lib.head keyFiles
    else
      null;

  userKeyFile = if own.apiKeyFile == null then "" else toString own.apiKeyFile;

  # llama-swap yield with the first key of a file.
  program = pkgs.writeShellScript "llama-swap-yield" ''
    set -eu
    file=$1
    shift
    if [ -n "$file" ]; then
      while read -r key || [ -n "$key" ]; do
        case $key in "" | "#"*) ;; *) break ;; esac
      done < "$file"
      export LLAMA_SWAP_API_KEY="$key"
    fi
    exec ${lib.getExe cfg.package} yield --url ${lib.escapeShellArg own.url} "$@"
  '';
  # systemd knows no shell, but quoting and specifiers of its own.
  systemdWord =
    word: ''"${lib.replaceStrings [ "\\" "\"" "%" "$" ] [ "\\\\" "\\\"" "%%" "$$" ] (toString word)}"'';
  call = file: words: "${program} ${file} ${lib.concatMapStringsSep " " systemdWord words}";
  unitFor =
    unit: "llama-swap-yield-${lib.strings.sanitizeDerivationName (lib.removeSuffix ".service" unit)}";

  # `end` is what systemd takes before a command, and the file with the key for it.
  whileRunning = keyFile: end: unit: {
    description = "llama-swap yields while ${unit} runs";
    wantedBy = [ unit ];
    bindsTo = [ unit ];
    after = [ unit ];
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = call keyFile [
        "--as"
        unit
        "--because"
        "${unit} runs"
      ];
      # "-": a service that is gone yields nothing.
      ExecStop = "-${end.prefix}${
        call end.keyFile [
          "--end"
          "--as"
          unit
        ]
      }";
    };
  };
  ofSystem =
    unit:
    let
      base = whileRunning (if systemKeyFile == null then systemdWord "" else "%d/key") {
        # As root: what stops a unit does not see the credentials that what started it saw.
        prefix = "+";
        keyFile = systemdWord (if systemKeyFile == null then "" else systemKeyFile);
      } unit;
    in
    base
    // {
      after = base.after ++ [ "llama-swap.service" ];
      # A service that is started anew knows of no yield: it is told again.
      partOf = [ "llama-swap.service" ];
      serviceConfig = base.serviceConfig // {
        DynamicUser = true;
        LoadCredential = lib.mkIf (systemKeyFile != null) [ "key:${toString systemKeyFile}" ];
        PrivateDevices = true;
        ProtectHome = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
        ];
      };
    };
  ofUser = whileRunning (systemdWord userKeyFile) {
    prefix = "";
    keyFile = systemdWord userKeyFile;
  };
  units =
    make: names: lib.listToAttrs (map (unit: lib.nameValuePair (unitFor unit) (make unit)) names);
  # A service that is stopped and started anew knows of no yield either, and nothing else starts these units then.
  askAgain = pkgs.writeShellScript "llama-swap-ask-again" (
    lib.concatMapStrings (
      unit:
      let
        ours = lib.escapeShellArg "${unitFor unit}.service";
      in
      ''
        if systemctl is-active --quiet ${lib.escapeShellArg unit}; then systemctl start --no-block ${ours}; fi
      ''
    ) own.whileUnits
  );
  # A script for each, since GameMode takes at most 255 characters.
  hook =
    name: words:
    "${pkgs.writeShellScript "llama-swap-${name}" "exec ${program} ${
      lib.escapeShellArgs ([ userKeyFile ] ++ words)
    }"}";

  settings = given {
    inherit (own) freeBelow requests;
    drain = renderers.seconds own.drain;
    returnAfter = renderers.seconds own.returnAfter;
  };
  asked = own.gamemode.enable || own.whileUnits != [ ] || own.whileUserUnits != [ ];
in
{
  options.services.llama-swap.yield = {
    freeBelow = nullable size "Yield a device by itself when the use of other programs leaves less than this free on it; 0 is never.";
    drain = nullable duration "How long models in use may finish what they serve; 0 is without bound.";
    returnAfter = nullable duration "How long the pressure must be over before models may start again.";
    requests =
      nullable
        (types.enum [
          "refuse"
          "wait"
        ])
        "What becomes of requests for a model whose device is yielded: 503 with the reason, or they wait.";
    gamemode.enable = lib.mkEnableOption ''
      yielding while a game runs under [GameMode](https://github.com/FeralInteractive/gamemode) (`gamemoderun %command%` as a launch option
      in Steam). This adds to `programs.gamemode.settings.custom`; scripts of your own beside it must be written as lists'';
    whileUnits = listOfUnits [ "ollama.service" ] ''
      Units of the system that get the devices while they run. The yield begins when such a unit has started and ends when it stops or
      fails. It is asked for again when llama-swap is started meanwhile.
    '';
    whileUserUnits = listOfUnits [ "gamescope-session.service" ] ''
      The same for units of users (`systemctl --user`). A program that a desktop starts is in a scope with a name of its own, which
      cannot be named here; GameMode or {option}`services.llama-swap.yield.freeBelow` notices those.
    '';
    apiKeyFile = mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      example = "/run/secrets/llama-swap-desk-key";
      description = ''
        File with an API key to ask with. Units of the system take the first of {option}`services.llama-swap.apiKeyFiles` or
        {option}`services.llama-swap.apiKeys` by themselves. GameMode and units of users need one that the user can read.
      '';
    };
    url = mkOption {
      type = types.str;
      default =
        let
          host = if renderers.isWildcard cfg.listenAddress then "127.0.0.1" else cfg.listenAddress;
        in
        if cfg.tls.enable then cfg.publicUrl else "http://${renderers.hostPort host cfg.port}";
      defaultText = lib.literalMD "this machine's address and `port`; `publicUrl` with `tls`, for the name in the certificate";
      description = "Where the service is asked.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.llama-swap.settings = lib.mkIf (settings != { }) (low {
      yield = settings;
    });
    systemd.services = lib.mkIf (own.whileUnits != [ ]) (
      units ofSystem own.whileUnits
      // {
        # As root, outside the sandbox; that it fails is no reason to stop.
        llama-swap.serviceConfig.ExecStartPost = "-+${askAgain}";
      }
    );
    systemd.user.services = lib.mkIf (own.whileUserUnits != [ ]) (units ofUser own.whileUserUnits);
    programs.gamemode = lib.mkIf own.gamemode.enable {
      enable = lib.mkDefault true;
      settings.custom = {
        start = [
          (hook "game-starts" [
            "--as"
            "gamemode"
            "--because"
            "a game runs"
          ])
        ];
        end = [
          (hook "game-ends" [
            "--end"
            "--as"
            "gamemode"
          ])
        ];
      };
    };
    assertions = [
      {
        assertion = asked -> cfg.isOurs;
        message = "${option "gamemode"}, `whileUnits` and `whileUserUnits` need this project's llama-swap: the other one cannot yield. Remove services.llama-swap.package.";
      }
      {
        assertion = isKeyed && (own.gamemode.enable || own.whileUserUnits != [ ]) -> own.apiKeyFile != null;
        message = "${option "apiKeyFile"}: the service asks for API keys, and GameMode and units of users run as whoever plays. Name a file with a key that this user can read.";
      }
      {
        assertion = isKeyed && own.whileUnits != [ ] -> systemKeyFile != null;
        message = "${option "apiKeyFile"}: the service asks for API keys, and none of them is in a file that the module knows. Name one, so that `whileUnits` may ask.";
      }
      {
        assertion = own.apiKeyFile == null || !(renderers.inStore own.apiKeyFile);
        message = "${option "apiKeyFile"} must not be in the Nix store, which everyone can read. Give a path as a string, such as one of sops-nix or agenix.";
      }
    ];
  };
}
