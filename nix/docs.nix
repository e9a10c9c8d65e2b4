# The options as a page of Markdown: docs/options.md, which a check compares with this.
{ lib, pkgs }:
let
  evaluated = lib.evalModules {
    modules = [
      ../nixos-module.nix
      {
        _module.args = { inherit pkgs; };
        # Only the declarations are read; what the module sets in NixOS has no option here.
        _module.check = false;
      }
    ];
  };
  isOurs =
    option: lib.hasPrefix "services.llama-swap." option.name && option.visible && !option.internal;
  # Types are described by the lib at hand; the one that a nixpkgs format brings is named here so that the page is the same everywhere.
  typeOf =
    option:
    if option.name == "services.llama-swap.settings" then "open set of YAML values" else option.type;
  shown =
    value:
    if value._type or "" == "literalMD" then
      value.text
    else if value._type or "" == "literalExpression" then
      code value.text
    else
      code (lib.generators.toPretty { multiline = false; } value);
  code =
    text:
    if lib.hasInfix "\n" text then "\n\n```nix\n${lib.removeSuffix "\n" text}\n```" else "`${text}`";
  escaped = lib.replaceStrings [ "<" ">" ] [ "\\<" "\\>" ];
  # {option}`x` is how NixOS' manual links options; a plain page shows the name.
  plain = lib.replaceStrings [ "{option}`" ] [ "`" ];

  section = option: ''
    ## ${escaped option.name}

    ${plain (lib.trim (option.description.text or option.description))}

    - Type: ${typeOf option}${lib.optionalString option.readOnly " (read only)"}
    ${lib.optionalString (option ? default) "- Default: ${plain (shown option.default)}\n"}${
      lib.optionalString (option ? example) "- Example: ${shown option.example}\n"
    }'';
  options = lib.filter isOurs (lib.optionAttrSetToDocList evaluated.options);
  text = ''
    # Options of services.llama-swap

    Generated from the module; do not edit. `nix build .#docs` writes this page.

  ''
  + lib.concatMapStringsSep "\n" section options;
in
pkgs.writeText "options.md" text // { inherit text; }
