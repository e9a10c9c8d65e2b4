"""The options about memory: what becomes of them, who yields while what runs, and whose a key is."""

import re
import shlex

import pytest
import yaml

from llama_swap.config import PortBook, load_config

GIB = 1 << 30


def failing(nix, settings: str) -> list[str]:
    """Messages of the assertions that fail."""
    return nix.swap(settings, "map (entry: entry.message) (lib.filter (entry: !entry.assertion) config.assertions)")


class TestSettings:
    """Typed options and the keys that they become."""

    def test_of_a_model(self, nix):
        """What is declared of a model arrives as it was written; what is not is left to the service."""
        models = nix.swap(
            """
            models.a = { path = "/a"; vram = "18GiB"; ram = 4294967296; pin = true; evictCost = 2.5; };
            models.b = { path = "/b"; vram = { "0" = "10GiB"; "1" = "8 GiB"; }; pin = false; };
            models.c = { path = "/c"; vram = 0; };
            models.d.path = "/d";
            """
        )["models"]
        keys = ("vram", "ram", "pin", "evictCost")
        assert [{key: model[key] for key in keys if key in model} for model in models.values()] == [
            {"vram": "18GiB", "ram": 4 * GIB, "pin": True, "evictCost": 2.5},
            {"vram": {"0": "10GiB", "1": "8 GiB"}, "pin": False},
            {"vram": 0},
            {},
        ]

    def test_defaults_reach_the_models(self, nix):
        """As every option of a model, with the model's own above them."""
        models = nix.swap(
            """
            defaults.pin = true; profiles.small.vram = "2GiB";
            models.a = { path = "/a"; profiles = [ "small" ]; };
            models.b = { path = "/b"; pin = false; profiles = [ "small" ]; vram = "3GiB"; };
            """
        )["models"]
        assert (models["a"]["pin"], models["a"]["vram"]) == (True, "2GiB")
        assert (models["b"]["pin"], models["b"]["vram"]) == (False, "3GiB")

    @pytest.mark.parametrize("value", ['"18"', '"18G"', "18", '"lots"', "true", "1.5", "(-1)", "[ ]"])
    def test_what_is_no_amount(self, nix, value):
        """A unit that was forgotten is found while the system is evaluated."""
        with pytest.raises(nix.Error, match="an amount of memory, such as"):
            nix.swap(f'models.a = {{ path = "/a"; ram = {value}; }};')

    def test_a_cost_is_not_negative(self, nix):
        """Nor is it text."""
        for value in ("(-1)", '"5"'):
            with pytest.raises(nix.Error, match="number, from 0"):
                nix.swap(f'models.a = {{ path = "/a"; evictCost = {value}; }};')

    def test_of_the_service(self, nix):
        """Each option is one key; times may be texts."""
        settings = nix.swap(
            """
            router = "fit"; fairShare = "1m";
            memory = {
              headroom = "1GiB"; hostHeadroom = 0; minResidency = "20s"; releaseTimeout = 3; readAhead = false;
              askLlamaCpp = false; learned = "";
            };
            keepAlive = { honour = false; max = "2h"; };
            yield = { freeBelow = "6GiB"; drain = "1m"; returnAfter = 45; requests = "wait"; };
            """
        )
        assert settings == {
            "routing": {
                "router": {
                    "use": "fit",
                    "settings": {
                        "fit": {
                            "headroom": "1GiB",
                            "hostHeadroom": 0,
                            "minResidency": 20,
                            "releaseTimeout": 3,
                            "readAhead": False,
                            "askLlamaCpp": False,
                            "learned": "",
                        }
                    },
                },
                "scheduler": {"settings": {"fifo": {"fairShare": 60}}},
            },
            "keepAlive": {"honour": False, "max": 7200},
            "yield": {"freeBelow": "6GiB", "drain": 60, "returnAfter": 45, "requests": "wait"},
        }

    def test_the_service_knows_every_key(self, nix, tmp_path):
        """`llama-swap check` takes what the options make, and settings of one's own win over it."""
        settings = nix.swap(
            """
            models.a = { path = "/a"; vram = { "0" = "10GiB"; }; ram = "1GiB"; pin = true; evictCost = 1; };
            router = "fit"; fairShare = 10; memory = { headroom = "1GiB"; minResidency = "20s"; learned = ""; };
            keepAlive.max = "2h"; yield = { freeBelow = "6GiB"; requests = "wait"; };
            apiKeys.alice = { file = "/run/secrets/alice"; priority = 1; };
            settings.yield.requests = "refuse"; settings.routing.router.settings.fit.headroom = "2GiB";
            """
        )
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(settings))
        config = load_config([file], env={}, ports=PortBook(lambda _port: True), allow_missing_env=True)
        assert config.scheduler.yielding.requests == "refuse"
        assert config.scheduler.yielding.free_below_bytes == 6 * GIB
        assert config.scheduler.fit.headroom_bytes == 2 * GIB
        assert config.models["a"].vram_by_device == {"0": 10 * GIB}

    def test_nothing_by_default(self, nix):
        """What is not set is left to the service, which knows its own defaults."""
        assert nix.swap("") == {}

    def test_groups_beside_a_router(self, nix):
        """The older spelling of groups and a router exclude each other, so groups then take the newer one."""
        group = 'models.a.path = "/a"; groups.g.members = [ "a" ];'
        assert set(nix.swap(group)) == {"models", "groups"}
        router = nix.swap(f'{group} router = "group";')["routing"]["router"]
        assert router["use"] == "group"
        assert router["settings"]["groups"]["g"]["members"] == ["a"]


class TestKeys:
    """API keys with names."""

    SETTINGS = """
      apiKeyFiles = [ "/run/secrets/any" ];
      apiKeys.alice.file = "/run/secrets/alice";
      apiKeys."agents: all" = { file = "/run/secrets/agents"; priority = -1; };
    """

    def test_files_are_credentials(self, nix):
        """Each file is read by systemd; the service knows whose keys are in it."""
        service = nix.swap(self.SETTINGS, "config.systemd.services.llama-swap")
        assert service["serviceConfig"]["LoadCredential"] == [
            "api-key-0:/run/secrets/any",
            "api-key-1:/run/secrets/agents",
            "api-key-2:/run/secrets/alice",
        ]
        assert nix.swap(self.SETTINGS)["apiKeys"] == [
            {"credential": "api-key-0"},
            {"credential": "api-key-1", "name": "agents: all", "priority": -1},
            {"credential": "api-key-2", "name": "alice"},
        ]

    def test_go_llama_swap_knows_no_names(self, nix):
        """Its keys stay variables."""
        settings = f"package = pkgs.llama-swap; {self.SETTINGS}"
        assert nix.swap(settings)["apiKeys"] == [f"${{env.LLAMA_SWAP_API_KEY_{number}}}" for number in range(3)]

    def test_keys_are_keys(self, nix):
        """With keys of names only, the service is not open to everybody, and nobody is warned of that."""
        settings = 'listenAddress = "0.0.0.0"; apiKeys.a.file = "/run/a";'
        assert nix.swap(settings, "config.warnings") == []


class TestYield:
    """Units and hooks that ask for the devices."""

    def unit(self, nix, settings: str, kind: str = "services", unit: str = "ollama") -> dict:
        """The unit that yields while another runs."""
        return nix.swap(settings, f'config.systemd.{kind}."llama-swap-yield-{unit}"')

    def words(self, command: str) -> list[str]:
        """The arguments of a command as systemd splits them, without the program."""
        return shlex.split(command.replace("%%", "%").replace("$$", "$"))[1:]

    def test_while_a_unit_runs(self, nix):
        """It comes and goes with the other one, and is asked for again when the service restarts."""
        got = self.unit(nix, 'yield.whileUnits = [ "ollama.service" ];')
        assert (got["wantedBy"], got["bindsTo"]) == (["ollama.service"], ["ollama.service"])
        assert got["after"] == ["ollama.service", "llama-swap.service"]
        assert got["partOf"] == ["llama-swap.service"]
        config = got["serviceConfig"]
        assert (config["Type"], config["RemainAfterExit"], config["DynamicUser"]) == ("oneshot", True, True)
        assert self.words(config["ExecStart"]) == ["", "--as", "ollama.service", "--because", "ollama.service runs"]
        assert config["ExecStop"].startswith("-+/")
        assert self.words(config["ExecStop"]) == ["", "--end", "--as", "ollama.service"]
        assert "LoadCredential" not in config

    def test_after_a_stop_and_a_start(self, nix):
        """A service that starts anew has what was asked of the last one asked again, outside its sandbox."""
        again = 'config.systemd.services.llama-swap.serviceConfig.ExecStartPost or ""'
        command = nix.swap('yield.whileUnits = [ "ollama.service" ];', again)
        assert re.fullmatch(r"-\+/\S+-llama-swap-ask-again", command)
        assert nix.swap('yield.whileUserUnits = [ "x.service" ];', again) == ""

    def test_names_that_systemd_could_misread(self, nix):
        """An escaped character in a unit's name is one for systemd's quoting, too."""
        got = self.unit(nix, r'yield.whileUnits = [ "a-b@x\\x2dy.service" ];', unit="a-b-x-x2dy")
        assert got["bindsTo"] == [r"a-b@x\x2dy.service"]
        assert r'"a-b@x\\x2dy.service runs"' in got["serviceConfig"]["ExecStart"]

    def test_a_key_file_of_any_name(self, nix):
        """What systemd means something by is told as it is."""
        settings = 'yield = { whileUserUnits = [ "x.service" ]; apiKeyFile = "/run/a \\"b\\" $HOME %h"; };'
        command = self.unit(nix, settings, "user.services", "x")["serviceConfig"]["ExecStart"]
        assert r' "/run/a \"b\" $$HOME %%h" ' in command

    def test_units_of_users(self, nix):
        """The user's own systemd has them, without what belongs to the system."""
        got = self.unit(nix, 'yield.whileUserUnits = [ "x.service" ];', "user.services", "x")
        assert got["after"] == ["x.service"]
        assert got["partOf"] == []
        assert "DynamicUser" not in got["serviceConfig"]
        assert got["serviceConfig"]["ExecStop"].startswith("-/")

    def test_with_keys(self, nix):
        """A unit of the system takes the first key file as a credential, or the one that is named."""
        keys = 'apiKeyFiles = [ "/run/secrets/any" ]; yield.whileUnits = [ "ollama.service" ];'
        config = self.unit(nix, keys)["serviceConfig"]
        assert config["LoadCredential"] == ["key:/run/secrets/any"]
        assert " %d/key " in config["ExecStart"]
        # What stops a unit does not see its credentials.
        assert ' "/run/secrets/any" "--end" ' in config["ExecStop"]
        own = self.unit(nix, f'{keys} yield.apiKeyFile = "/run/secrets/desk";')["serviceConfig"]
        assert own["LoadCredential"] == ["key:/run/secrets/desk"]

    @pytest.mark.parametrize(
        ("settings", "url"),
        [
            ("", "http://127.0.0.1:9292"),
            ('listenAddress = "0.0.0.0"; port = 80;', "http://127.0.0.1:80"),
            ('listenAddress = "::";', "http://127.0.0.1:9292"),
            ('listenAddress = "192.0.2.1";', "http://192.0.2.1:9292"),
            ('listenAddress = "::1";', "http://[::1]:9292"),
            ('tls.enable = true; publicUrl = "https://llm.example.org";', "https://llm.example.org"),
        ],
    )
    def test_where_it_asks(self, nix, settings, url):
        """This machine, as far as it listens there; with HTTPS the name that is in the certificate."""
        assert nix.swap(settings, "config.services.llama-swap.yield.url") == url

    def test_gamemode(self, nix):
        """GameMode is on and calls two scripts, beside those that the host has for itself."""
        host = 'programs.gamemode.settings.custom.start = [ "notify-send game" ];'
        got = nix.machine(
            f"{{ {host} services.llama-swap = {{ enable = true; yield.gamemode.enable = true; }}; }}",
            "config.programs.gamemode",
        )
        assert got["enable"] is True
        starts, ends = got["settings"]["custom"]["start"], got["settings"]["custom"]["end"]
        assert "notify-send game" in starts
        assert (len(starts), len(ends)) == (2, 1)
        # GameMode reads at most 255 characters of a value.
        assert all(len(command) < 200 for command in (*starts, *ends))

    def test_other_packages_cannot(self, nix):
        """Go llama-swap knows no yield."""
        messages = failing(nix, 'package = pkgs.llama-swap; yield.whileUnits = [ "x.service" ];')
        assert any("need this project's llama-swap" in message for message in messages)

    @pytest.mark.parametrize("name", ["steam", "a b.service", "a%b.service", "game@.service", "d/x.service", ""])
    def test_what_is_no_unit(self, nix, name):
        """A unit has a whole name; a template is none."""
        with pytest.raises(nix.Error, match="whileUnits"):
            nix.swap(f'yield.whileUnits = [ "{name}" ];', "config.services.llama-swap.yield.whileUnits")


def test_confinement_lets_memory_be_seen(nix):
    """The unit may read /proc/meminfo and its own processes, its own control group, and NVIDIA's nodes for NVML."""
    host = 'hardware.graphics.enable = true; services.xserver.videoDrivers = [ "nvidia" ];'
    service = nix.machine(
        f"{{ {host} services.llama-swap.enable = true; }}", "config.systemd.services.llama-swap.serviceConfig"
    )
    assert service["ProcSubset"] == "all"  # `pid` would hide /proc/meminfo
    assert service["ProtectProc"] == "invisible"  # others' processes; its own stay visible
    assert service["ProtectControlGroups"] == "private"  # memory.max of the unit is in it
    assert "char-nvidiactl rw" in service["DeviceAllow"]
    assert service["StateDirectory"] == "llama-swap"  # where figures are kept that were learned
    assert "char-nvidia-frontend rw" in service["DeviceAllow"]
