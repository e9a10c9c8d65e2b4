# The type of an amount of memory. A small whole number is a number whose unit was forgotten, which `llama-swap check` refuses, too.
{ lib }:
lib.mkOptionType {
  name = "size";
  description = "an amount of memory, such as \"18GiB\" (2^30) or \"18GB\" (10^9), or a number of bytes";
  descriptionClass = "nonRestrictiveClause";
  check =
    value:
    (lib.isInt value && (value == 0 || value >= 1024 * 1024))
    || (lib.isString value && builtins.match "[0-9]+([.][0-9]+)? *[kKmMgGtT]i?[bB]" value != null);
  merge = lib.mergeEqualOption;
}
