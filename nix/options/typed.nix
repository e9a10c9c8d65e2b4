# What typed options are made of: amounts of memory and of time, values that may be absent, and their place below `settings`.
{ lib, renderers }:
{
  # A small whole number is a number whose unit was forgotten, which `llama-swap check` refuses, too.
  size = lib.mkOptionType {
    name = "size";
    description = "an amount of memory, such as \"18GiB\" (2^30) or \"18GB\" (10^9), or a number of bytes";
    descriptionClass = "nonRestrictiveClause";
    check =
      value:
      (lib.isInt value && (value == 0 || value >= 1024 * 1024))
      || (lib.isString value && builtins.match "[0-9]+([.][0-9]+)? *[kKmMgGtT]i?[bB]" value != null);
    merge = lib.mergeEqualOption;
  };

  duration = lib.mkOptionType {
    name = "duration";
    description = "a number of seconds, or a duration such as \"1h\" or \"90s\"";
    descriptionClass = "nonRestrictiveClause";
    check = value: (lib.isInt value || lib.isString value) && renderers.parseDuration value != null;
    merge = lib.mergeEqualOption;
  };

  nullable =
    type: description:
    lib.mkOption {
      type = lib.types.nullOr type;
      default = null;
      inherit description;
    };
  given = lib.filterAttrs (_: value: value != null);

  # Below anything the user writes in `settings`, above the option's own default.
  low = lib.mapAttrsRecursive (_: lib.mkOverride 1400);
}
