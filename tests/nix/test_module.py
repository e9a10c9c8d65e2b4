"""The module beside upstream's: its options, what wins, and the mistakes that it tells."""

from pathlib import Path

ROOT = Path(__file__).parents[2]

UPSTREAM = """
  listenAddress = "localhost"; port = 8080; openFirewall = true;
  tls = { enable = false; certFile = null; keyFile = null; };
  useLlamaCppCacheDir = true;
  settings = {
    healthCheckTimeout = 60; logLevel = "debug";
    models."some-model" = { cmd = "/bin/llama-server --port \\${PORT} -m /m.gguf -ngl 0"; aliases = [ "the-best" ]; };
    models."other-model" = { proxy = "http://127.0.0.1:5555"; cmd = "/bin/x --port 5555"; concurrencyLimit = 4; };
    groups.g = { swap = false; members = [ "some-model" ]; };
  };
"""


def failing(nix, settings: str) -> list[str]:
    """Messages of the assertions that fail."""
    return nix.swap(settings, "map (entry: entry.message) (lib.filter (entry: !entry.assertion) config.assertions)")


class TestUpstream:
    """A configuration written for nixpkgs' module."""

    def test_evaluates_unchanged(self, nix):
        """Every option of nixpkgs' module is there; the settings arrive as they were written."""
        settings = nix.swap(UPSTREAM)
        assert settings["models"]["some-model"] == {
            "cmd": "/bin/llama-server --port ${PORT} -m /m.gguf -ngl 0",
            "aliases": ["the-best"],
        }
        assert settings["healthCheckTimeout"] == 60
        assert failing(nix, UPSTREAM) == []

    def test_its_switches_mean_the_same(self, nix):
        """Address, port, firewall and the shared cache directory do what they did."""
        service = nix.unit(UPSTREAM)
        assert service["serviceConfig"]["ExecStart"].endswith("--listen localhost:8080")
        assert service["serviceConfig"]["CacheDirectory"] == "llama-cpp"
        assert service["environment"]["LLAMA_CACHE"] == "/var/cache/llama-cpp"
        assert nix.swap(UPSTREAM, "config.networking.firewall.allowedTCPPorts") == [8080]

    def test_llama_cpp_can_be_left_out(self, nix):
        """Commands with absolute paths bring their own llama.cpp: one switch, and ours is not built for them."""
        assert len(nix.unit(UPSTREAM)["path"]) == 1
        assert nix.unit(UPSTREAM + "llamaServerOnPath = false;")["path"] == []

    def test_replaces_the_module_of_nixpkgs(self, nix):
        """With nixpkgs' module of the same options present, there is no clash: ours takes its place."""
        text = f"""
          (lib.evalModules {{
            specialArgs.modulesPath = "/modules";
            modules = [
              {ROOT}/nixos-module.nix
              {ROOT}/tests/nix/stub/nixos.nix
              {{
                key = "/modules/services/networking/llama-swap.nix";
                imports = [ {{ options.services.llama-swap.port = lib.mkOption {{ default = 8080; }}; }} ];
              }}
              {{ _module.args.pkgs = pkgs; services.llama-swap.enable = true; }}
            ];
          }}).config.services.llama-swap.port
        """
        assert nix.evaluate(text) == 9292

    def test_go_llama_swap_still_runs(self, nix):
        """With the Go package the unit asks for nothing that it lacks."""
        service = nix.unit("package = pkgs.llama-swap;")
        assert service["serviceConfig"]["Type"] == "exec"
        assert "WatchdogSec" not in service["serviceConfig"]
        assert " serve " not in service["serviceConfig"]["ExecStart"]
        assert service["reloadTriggers"] == []
        assert len(service["restartTriggers"]) == 1

    def test_typed_models_read_like_upstreams(self, nix):
        """Other modules find rendered models where they look for them, with the command as one string."""
        cmd = nix.swap('models.m.hf = "o/n:Q4";', "config.services.llama-swap.settings.models.m.cmd")
        assert isinstance(cmd, str)
        assert cmd.endswith("/bin/llama-server --hf-repo o/n:Q4 --jinja --port ${PORT}")

    def test_a_list_of_words_is_one_command(self, nix):
        """Also in `settings` a command may be a list; readers of the settings see the string it means."""
        models = nix.swap('settings.models = { m.cmd = [ "x" "two words" "\\${PORT}" ]; n.cmd = [ 1 ]; };')["models"]
        assert models["m"]["cmd"] == "x 'two words' ${PORT}"
        assert models["n"]["cmd"] == [1]

    def test_settings_win(self, nix):
        """What is written in `settings` replaces what the typed options render, key by key."""
        settings = nix.swap(
            'models.m = { hf = "o/n"; ttl = 5; description = "typed"; aliases = [ "a" ]; };'
            ' settings.models.m = { ttl = 7; aliases = [ "b" ]; }; globalTTL = "1h"; settings.globalTTL = 3;'
        )
        assert settings["models"]["m"]["ttl"] == 7
        assert settings["models"]["m"]["aliases"] == ["b"]
        assert settings["models"]["m"]["description"] == "typed"
        assert settings["globalTTL"] == 3


class TestMistakes:
    """Assertions and warnings."""

    def test_each_mistake_is_told(self, nix):
        """Each case of cases.nix brings exactly its messages."""
        got = nix.evaluate(f"""
          lib.mapAttrs (_: case:
            let
              inherit (import {ROOT}/tests/nix/stub/evaluate.nix {{ inherit lib pkgs; }} [ case.module ]) config;
            in {{
              inherit (case) assertions warnings;
              failing = map (entry: entry.message) (lib.filter (entry: !entry.assertion) config.assertions);
              warned = config.warnings;
            }}) (import {ROOT}/tests/nix/cases.nix {{ inherit lib pkgs; }})
        """)
        assert len(got) > 30
        wrong = {
            name: case
            for name, case in got.items()
            if not told(case["assertions"], case["failing"]) or not told(case["warnings"], case["warned"])
        }
        assert wrong == {}


def told(parts: list[str], messages: list[str]) -> bool:
    """Whether each part stands in a message and there is no other message."""
    return len(parts) == len(messages) and all(any(part in message for message in messages) for part in parts)
