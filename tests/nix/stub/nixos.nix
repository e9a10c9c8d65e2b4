# The few NixOS options that the module sets or reads, with the types NixOS gives them, so that the real `lib.evalModules`
# can check and merge the module without a copy of nixpkgs. Anything the module sets beyond these is an evaluation error.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  scalar = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
    types.path
  ];
  # As in NixOS: definitions that are lists concatenate.
  unitValue = types.either scalar (types.listOf scalar);
  section = types.attrsOf unitValue;
  strings = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };
  triggers = mkOption {
    type = types.listOf types.unspecified;
    default = [ ];
  };
  option = type: default: mkOption { inherit type default; };

  unit = {
    description = option types.str "";
    after = strings;
    before = strings;
    wants = strings;
    requires = strings;
    bindsTo = strings;
    partOf = strings;
    wantedBy = strings;
    unitConfig = option section { };
    startLimitIntervalSec = option (types.nullOr types.int) null;
    startLimitBurst = option (types.nullOr types.int) null;
    reloadTriggers = triggers;
    restartTriggers = triggers;
  };
  service = types.submodule {
    options = unit // {
      environment = option (types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.str
            types.path
            types.package
          ]
        )
      )) { };
      path = option (types.listOf (types.either types.package types.str)) [ ];
      stopIfChanged = option types.bool true;
      serviceConfig = option section { };
    };
  };
  socket = types.submodule {
    options = unit // {
      listenStreams = strings;
      socketConfig = option section { };
    };
  };
  units = import ./units.nix { inherit lib pkgs; };
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    warnings = option (types.listOf types.str) [ ];
    environment.etc = option (types.attrsOf (
      types.submodule {
        options = {
          source = mkOption { type = types.path; };
        };
      }
    )) { };
    environment.systemPackages = option (types.listOf types.package) [ ];
    networking.hostName = option types.str "nixos";
    networking.firewall.allowedTCPPorts = option (types.listOf types.port) [ ];
    hardware.graphics.enable = option types.bool false;
    services.xserver.videoDrivers = option (types.listOf types.str) [ ];
    programs.gamemode = {
      enable = option types.bool false;
      # As in nixpkgs: a text or a list of texts, and lists of several places concatenate.
      settings = option (types.attrsOf section) { };
    };
    users.users = option (types.attrsOf (types.attrsOf types.unspecified)) { };
    users.groups = option (types.attrsOf (types.attrsOf types.unspecified)) { };
    systemd = {
      services = option (types.attrsOf service) { };
      sockets = option (types.attrsOf socket) { };
      user.services = option (types.attrsOf service) { };
      tmpfiles.rules = option (types.listOf types.str) [ ];
    };
    specialisation = option (types.attrsOf types.unspecified) { };
    virtualisation = option types.unspecified { };

    # What NixOS makes of the above, for the tests: the texts of the units.
    rendered = option (types.attrsOf types.str) { };
  };
  config.rendered =
    lib.mapAttrs' (
      name: value: lib.nameValuePair "${name}.service" (units.service value)
    ) config.systemd.services
    // lib.mapAttrs' (
      name: value: lib.nameValuePair "${name}.socket" (units.socket value)
    ) config.systemd.sockets;
}
