"""What the module tells systemd, and what changes it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SOURCE = 'path = "/w";'
SOURCES = (
    'hf = "o/n:Q4";',
    'url = "https://h/w.gguf";',
    'path = "/v";',
    'cmd = "llama-server --port \\${PORT}";',
)
# One edit for each option of a model.
EDITS = (
    *SOURCES,
    *(f"{name} = 4;" for name in ("ctxSize", "parallel", "batchSize", "ubatchSize", "threads", "threadsBatch")),
    "jinja = false;",
    "flashAttn = true;",
    'cacheType = "q8_0";',
    "gpu.layers = 99;",
    "fit.target = 1;",
    "spec.draftNMax = 3;",
    'lora = [ "/l" ];',
    "chatTemplateKwargs.a = 1;",
    "reasoning.budget = 0;",
    "sampling.temp = 0.1;",
    *(
        f"{name} = true;"
        for name in ("embeddings", "reranking", "contextShift", "swaFull", "unlisted", "sendLoadingState")
    ),
    'pooling = "mean";',
    'sha256 = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; url = "https://h/w";',
    'package = pkgs.coreutils // { type = "derivation"; };',
    "mmproj = false;",
    'chatTemplate = "chatml";',
    "flags.x = 1;",
    'extraArgs = [ "-v" ];',
    'profiles = [ "p" ];',
    "variants.v.sampling.temp = 1;",
    'name = "N";',
    'description = "D";',
    'aliases = [ "a" ];',
    "env.X = 1;",
    *(f"{name} = 400;" for name in ("ttl", "unloadTimeout", "healthCheckTimeout", "priority", "concurrencyLimit")),
    'useModelName = "u";',
    'cmdStop = "kill \\${PID}";',
    'proxy = "http://127.0.0.1:1";',
    'checkEndpoint = "none";',
    "metadata.a = 1;",
    "macros.a = 1;",
    "timeouts.connect = 1;",
    "compat.a = 1;",
    "filters.setParams.a = 1;",
    "capabilities.tools = true;",
    'vram = "18GiB";',
    "ram = 4294967296;",
    "pin = true;",
    "evictCost = 2.5;",
)


class TestUnit:
    """What systemd is told."""

    def test_an_edit_reloads(self, nix):
        """The unit names a stable path, so an edit changes the reload trigger and nothing else."""
        before, after = nix.unit('models.m.path = "/a";'), nix.unit('models.m.path = "/b";')
        assert before["reloadTriggers"] != after["reloadTriggers"]
        assert {**before, "reloadTriggers": None} == {**after, "reloadTriggers": None}
        assert " serve --config /etc/llama-swap/config.yaml " in before["serviceConfig"]["ExecStart"]

    def test_every_option_of_a_model_is_edited_below(self, nix):
        """The list of edits is complete: a new option without one fails here."""
        declared = nix.evaluate(
            f"lib.attrNames (import {ROOT}/nix/options/model.nix"
            f" {{ inherit lib; renderers = import {ROOT}/nix/lib.nix {{ inherit lib; }}; }}).options"
        )
        assert {re.split(r"[ .]", edit)[0].strip('"') for edit in EDITS} == set(declared)

    def test_no_edit_of_a_model_changes_the_unit(self, nix):
        """Whatever changes in a model, or in the time that models have to stop, the text of the unit stays."""
        machines = [
            f"models.m = {{ {'' if 'url =' in edit else SOURCE} {edit} }};" for edit in EDITS if edit not in SOURCES
        ]
        machines += [f"models.m = {{ {edit} }};" for edit in SOURCES]
        machines += [
            'models.m.path = "/w"; settings.unloadTimeout = 300;',
            "",
            'settings.models.m.cmd = "llama-server";',
        ]
        rendered = nix.evaluate(
            f"map (module: let evaluate = import {ROOT}/tests/nix/stub/evaluate.nix {{ inherit lib pkgs; }};"
            ' inherit (evaluate [ module ]) config; in { text = config.rendered."llama-swap.service";'
            " file = toString config.services.llama-swap.configFile; }) [ "
            + " ".join(
                f"{{ services.llama-swap = {{ enable = true; profiles.p.threads = 3; {text} }}; }}" for text in machines
            )
            + " ]"
        )
        texts = {re.sub(r"X-Reload-Triggers=.*\n", "", machine["text"]) for machine in rendered}
        assert len(texts) == 1
        # Each of the edits really is one: but for those of no consequence, it makes another file.
        assert len({machine["file"] for machine in rendered}) >= len(machines) - 1

    def test_life(self, nix):
        """Readiness, watchdog, stop and memory are as the service needs them."""
        config = nix.unit()["serviceConfig"]
        expected = {
            "Type": "notify-reload",
            "NotifyAccess": "main",
            "WatchdogSec": 30,
            "Restart": "on-failure",
            "RestartPreventExitStatus": 78,
            "KillMode": "mixed",
            "TimeoutStopSec": 90,
            "OOMPolicy": "continue",
            "LimitMEMLOCK": "infinity",
            "Delegate": True,
            "DynamicUser": True,
        }
        assert {key: config.get(key) for key in expected} == expected

    def test_no_gpu_no_devices(self, nix):
        """Without a GPU no device is visible and nothing points to a driver."""
        service = nix.unit()
        assert service["serviceConfig"]["PrivateDevices"] is True
        assert "LD_LIBRARY_PATH" not in service["environment"]
        assert "SupplementaryGroups" not in service["serviceConfig"]

    def test_cuda(self, nix):
        """With an NVIDIA driver its device nodes and libraries are there, and only they."""
        service = nix.unit("", 'hardware.graphics.enable = true; services.xserver.videoDrivers = [ "nvidia" ];')
        config = service["serviceConfig"]
        assert config["PrivateDevices"] is False
        assert config["DevicePolicy"] == "closed"
        assert {"char-nvidiactl rw", "char-nvidia-frontend rw", "char-nvidia-uvm rw"} <= set(config["DeviceAllow"])
        assert not {"char-kfd rw", "char-drm rw"} & set(config["DeviceAllow"])
        assert "AF_NETLINK" in config["RestrictAddressFamilies"]
        assert "SupplementaryGroups" not in config
        assert config["PrivateUsers"] is True
        assert config["MemoryDenyWriteExecute"] is True
        assert service["environment"]["LD_LIBRARY_PATH"] == "/run/opengl-driver/lib"

    def test_vulkan(self, nix):
        """Vulkan compiles shaders and opens render nodes by group: two switches change by themselves."""
        config = nix.unit('gpu = { enable = true; backend = "vulkan"; extraDevices = [ "/dev/x" ]; };')["serviceConfig"]
        assert config["PrivateUsers"] is False
        assert config["MemoryDenyWriteExecute"] is False
        assert config["DeviceAllow"] == ["char-drm rw", "/dev/x rw"]
        assert "AF_NETLINK" not in config["RestrictAddressFamilies"]

    def test_vulkan_on_nvidia(self, nix):
        """NVIDIA's Vulkan driver opens NVIDIA's nodes."""
        host = 'hardware.graphics.enable = true; services.xserver.videoDrivers = [ "nvidia" ];'
        config = nix.unit('gpu.backend = "vulkan";', host)["serviceConfig"]
        assert {"char-nvidiactl rw", "char-drm rw"} <= set(config["DeviceAllow"])

    def test_rocm(self, nix):
        """ROCm opens /dev/kfd, and no node of NVIDIA."""
        config = nix.unit('gpu = { enable = true; backend = "rocm"; };')["serviceConfig"]
        assert config["DeviceAllow"] == ["char-drm rw", "char-kfd rw"]

    def test_secrets_stay_out_of_the_unit(self, nix):
        """Keys are credentials: neither the configuration nor the unit has more than the path of the file."""
        settings = 'apiKeyFiles = [ "/run/secrets/key" ];'
        config = nix.unit(settings)["serviceConfig"]
        assert config["LoadCredential"] == ["api-key-0:/run/secrets/key"]
        assert nix.swap(settings)["apiKeys"] == [{"credential": "api-key-0"}]
        assert "with-credentials" not in config["ExecStart"]

    def test_other_secrets_are_variables(self, nix):
        """Tokens for the models are credentials, too, and a script makes variables of them."""
        config = nix.unit('credentials.HF_TOKEN = "/run/secrets/hf"; environmentFile = "/run/env";')["serviceConfig"]
        assert config["LoadCredential"] == ["HF_TOKEN:/run/secrets/hf"]
        assert config["EnvironmentFile"] == ["/run/env"]
        assert "with-credentials" in config["ExecStart"]

    def test_keys_of_go_llama_swap_are_variables(self, nix):
        """The Go program reads keys from nowhere else."""
        settings = 'package = pkgs.llama-swap; apiKeyFiles = [ "/run/secrets/key" ];'
        assert nix.swap(settings)["apiKeys"] == ["${env.LLAMA_SWAP_API_KEY_0}"]
        assert "with-credentials" in nix.unit(settings)["serviceConfig"]["ExecStart"]

    def test_tls(self, nix):
        """Certificate and key are credentials, so the service's user needs no access to the files."""
        config = nix.unit('tls = { enable = true; certFile = "/run/c.pem"; keyFile = "/run/k.pem"; };')["serviceConfig"]
        assert config["ExecStart"].endswith("--tls-cert-file %d/tls-cert --tls-key-file %d/tls-key")
        assert config["LoadCredential"] == ["tls-cert:/run/c.pem", "tls-key:/run/k.pem"]

    def test_a_user_of_ones_own(self, nix):
        """A static user replaces the made-up one."""
        config = nix.unit('user = "me"; group = "users";')["serviceConfig"]
        assert (config["DynamicUser"], config["User"], config["Group"]) == (False, "me", "users")

    @pytest.mark.parametrize(
        ("address", "streams"),
        [
            ("::1", ["[::1]:9292"]),
            ("localhost", ["127.0.0.1:9292", "[::1]:9292"]),
            ("0.0.0.0", ["0.0.0.0:9292"]),
            ("", ["9292"]),
        ],
    )
    def test_socket_activation(self, nix, address, streams):
        """The socket listens where the service would, in words that systemd takes, and before the address is there."""
        got = nix.swap(f'socketActivation = true; listenAddress = "{address}";', "config.systemd.sockets.llama-swap")
        assert got["listenStreams"] == streams
        assert got["socketConfig"]["FreeBind"] is True

    def test_a_restart_is_one_step(self, nix):
        """A new package restarts the service after the switch, instead of stopping it before."""
        assert nix.unit()["stopIfChanged"] is False
        assert "X-StopIfChanged=false" in nix.swap("", 'config.rendered."llama-swap.service"')

    @pytest.mark.parametrize(
        ("address", "waits"),
        [
            ("192.0.2.1", True),
            ("2001:db8::1", True),
            ("0.0.0.0", False),
            ("::", False),
            ("localhost", False),
            ("", False),
        ],
    )
    def test_an_address_of_the_network_waits_for_it(self, nix, address, waits):
        """Only an address that the network brings makes the service wait for the network."""
        service = nix.unit(f'listenAddress = "{address}"; apiKeyFiles = [ "/run/k" ];')
        assert ("network-online.target" in service["after"]) is waits
        assert ("network-online.target" in service["wants"]) is waits

    def test_the_start_limit_fits_the_delays(self, nix):
        """With the growing delays the unit never runs into its own limit, so what comes late is still found."""
        service = nix.unit()
        first, steps, last = (
            service["serviceConfig"][key] for key in ("RestartSec", "RestartSteps", "RestartMaxDelaySec")
        )
        delays = [
            min(last, first * (last / first) ** (number / steps)) for number in range(service["startLimitBurst"] - 1)
        ]
        assert delays[0] == 3
        assert sum(delays) > service["startLimitIntervalSec"]

    def test_models_in_home(self, nix):
        """Only the named directories of /home are visible, read-only."""
        config = nix.unit('modelDirs = [ "/home/me/models" "/mnt/models" ];')["serviceConfig"]
        assert config["ProtectHome"] == "tmpfs"
        assert config["BindReadOnlyPaths"] == ["-/home/me/models"]

    def test_disabled_is_nothing(self, nix):
        """Importing the module alone changes nothing."""
        assert nix.machine("{ }", "[ config.systemd.services config.environment.etc config.warnings ]") == [{}, {}, []]
