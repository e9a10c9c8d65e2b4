# systemd units as text, the way NixOS writes them: lists are repeated lines, triggers are X- lines that change with what they name.
{ lib, pkgs }:
let
  line =
    name: value:
    if lib.isList value then
      lib.concatMapStrings (line name) value
    else
      "${name}=${if lib.isBool value then lib.boolToString value else toString value}\n";
  lines = attrs: lib.concatStrings (lib.mapAttrsToList line attrs);
  words = name: list: lib.optionalString (list != [ ]) "${name}=${lib.concatStringsSep " " list}\n";
  number = name: value: lib.optionalString (value != null) "${name}=${toString value}\n";
  triggers = name: list: words name (map toString list);

  head = unit: ''
    [Unit]
    ${words "After" unit.after}${words "Before" unit.before}Description=${unit.description}
    ${words "BindsTo" unit.bindsTo}${words "PartOf" unit.partOf}${words "Requires" unit.requires}${words "Wants" unit.wants}${number "StartLimitBurst" unit.startLimitBurst}${number "StartLimitIntervalSec" unit.startLimitIntervalSec}${triggers "X-Reload-Triggers" unit.reloadTriggers}${triggers "X-Restart-Triggers" unit.restartTriggers}${lines unit.unitConfig}
  '';
  install =
    unit: lib.optionalString (unit.wantedBy != [ ]) "[Install]\n${words "WantedBy" unit.wantedBy}";
  # NixOS puts these on every unit's path.
  basicPath = [ pkgs.coreutils ];
  environment =
    service:
    lib.filterAttrs (_: value: value != null) service.environment
    // {
      PATH = lib.concatMapStringsSep ":" (package: "${package}/bin") (service.path ++ basicPath);
    };
in
{
  service =
    unit:
    head unit
    + "[Service]\n"
    + lib.concatStrings (
      lib.mapAttrsToList (name: value: "Environment=${builtins.toJSON "${name}=${toString value}"}\n") (
        environment unit
      )
    )
    + lib.optionalString (!unit.stopIfChanged) "X-StopIfChanged=false\n"
    + lines unit.serviceConfig
    + install unit;
  socket =
    unit:
    head unit
    + "[Socket]\n"
    + line "ListenStream" unit.listenStreams
    + lines unit.socketConfig
    + install unit;
}
