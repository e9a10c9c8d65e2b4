# `defaults` and `profiles`: modules with the options of a model whose values reach the models with a lower priority.
{ lib, modelOptions }:
let
  inherit (lib) isOption mkOverride;

  paths =
    prefix: options:
    lib.concatLists (
      lib.mapAttrsToList (
        name: option:
        if isOption option then [ (prefix ++ [ name ]) ] else paths (prefix ++ [ name ]) option
      ) options
    );
  leaves = paths [ ] modelOptions;

  isAttrsOf =
    type:
    type.name == "attrsOf" || (type.name == "nullOr" && type.nestedTypes.elemType.name == "attrsOf");

  # What a layer sets for one option; nothing when it leaves the option alone. Sets merge key by key, everything else as a whole.
  contribution =
    priority: layer: path:
    let
      option = lib.getAttrFromPath path layer.options;
    in
    if !option.isDefined || option.highestPrio >= (lib.mkOptionDefault null).priority then
      [ ]
    else if isAttrsOf option.type && option.value != null then
      [ (lib.mapAttrs (_: mkOverride priority) option.value) ]
    else
      [ (mkOverride priority option.value) ];
in
{
  # Check a layer's own values by the types of a model; errors name the option they came from.
  evaluate =
    prefix: module:
    lib.evalModules {
      inherit prefix;
      modules = [
        { options = modelOptions; }
        module
      ];
    };

  # A module for one model: defaults below profiles, profiles in their order, all below what the model itself says.
  # `profiles` itself comes from the model or from the defaults only.
  apply =
    { defaults, profiles }:
    { config, ... }:
    let
      chosen = lib.imap0 (position: name: {
        priority = 1200 - position;
        layer = profiles.${name} or null;
      }) config.profiles;
      known = lib.filter (entry: entry.layer != null) chosen;
      forPath =
        path:
        lib.mkMerge (
          contribution 1300 defaults path
          ++ lib.optionals (path != [ "profiles" ]) (
            lib.concatMap (entry: contribution entry.priority entry.layer path) known
          )
        );
    in
    {
      config = lib.foldl' (
        all: path: lib.recursiveUpdate all (lib.setAttrByPath path (forPath path))
      ) { } leaves;
    };
}
