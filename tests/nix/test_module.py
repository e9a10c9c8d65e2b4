"""The module: upstream's options, typed models, layers, mistakes, and what it tells systemd."""

import hashlib
import json
import re
import shlex
from pathlib import Path

import pytest

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


def failing(nix, settings: str) -> list[str]:
    """Messages of the assertions that fail."""
    return nix.swap(settings, "map (entry: entry.message) (lib.filter (entry: !entry.assertion) config.assertions)")


def unit(nix, settings: str = "", host: str = "") -> dict:
    """The service as the module defines it, beside settings of the host."""
    return nix.machine(
        f"{{ {host} services.llama-swap = {{ enable = true; {settings} }}; }}", "config.systemd.services.llama-swap"
    )


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
        service = unit(nix, UPSTREAM)
        assert service["serviceConfig"]["ExecStart"].endswith("--listen localhost:8080")
        assert service["serviceConfig"]["CacheDirectory"] == "llama-cpp"
        assert service["environment"]["LLAMA_CACHE"] == "/var/cache/llama-cpp"
        assert nix.swap(UPSTREAM, "config.networking.firewall.allowedTCPPorts") == [8080]

    def test_llama_cpp_can_be_left_out(self, nix):
        """Commands with absolute paths bring their own llama.cpp: one switch, and ours is not built for them."""
        assert len(unit(nix, UPSTREAM)["path"]) == 1
        assert unit(nix, UPSTREAM + "llamaServerOnPath = false;")["path"] == []

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
        service = unit(nix, "package = pkgs.llama-swap;")
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


class TestCommand:
    """Typed options as arguments of llama-server."""

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ("ctxSize = 0;", "--ctx-size 0"),
            ("jinja = false;", "--no-jinja"),
            ("flashAttn = true;", "--flash-attn on"),
            ('flashAttn = "auto";', "--flash-attn auto"),
            ('cacheType = "q8_0";', "--cache-type-k q8_0 --cache-type-v q8_0"),
            ('cacheType.k = "q4_0";', "--cache-type-k q4_0"),
            (
                "parallel = 1; batchSize = 2048; ubatchSize = 512; threads = 8;",
                "--parallel 1 --batch-size 2048 --ubatch-size 512 --threads 8",
            ),
            (
                'gpu = { layers = "all"; mainGpu = 1; splitMode = "layer"; tensorSplit = [ 1.3 3 ]; nCpuMoe = 20; };',
                "--n-gpu-layers all --main-gpu 1 --split-mode layer --tensor-split 1.3,3 --n-cpu-moe 20",
            ),
            ('gpu.devices = [ "CUDA0" "CUDA1" ];', "--device CUDA0,CUDA1"),
            (
                "fit = { enable = true; target = [ 2048 2048 ]; ctx = 16384; };",
                "--fit on --fit-target 2048,2048 --fit-ctx 16384",
            ),
            ('spec = { type = "draft-mtp"; draftNMax = 3; };', "--spec-type draft-mtp --spec-draft-n-max 3"),
            (
                "sampling = { temp = 0.7; topP = 0.95; topK = 20; minP = 1.0e-7; };",
                "--temp 0.7 --top-p 0.95 --top-k 20 --min-p 1e-07",
            ),
            ("embeddings = true;", "--embeddings"),
            ("mmproj = false;", "--no-mmproj"),
            ('mmproj = "auto";', ""),
            ('mmproj.url = "https://h/p.gguf";', "--mmproj-url https://h/p.gguf"),
            ('mmproj.path = "/m/p.gguf";', "--mmproj /m/p.gguf"),
            ('lora = [ "/a.gguf" "/b.gguf" ];', "--lora /a.gguf,/b.gguf"),
            ('lora = [ "/a.gguf" { path = "/b.gguf"; scale = 0.5; } ];', "--lora-scaled /a.gguf:1,/b.gguf:0.5"),
            ('chatTemplate = "chatml";', "--chat-template chatml"),
            ('chatTemplate = "/etc/t.jinja";', "--chat-template-file /etc/t.jinja"),
            (
                "flags = { swa-full = true; no-mmap = true; rope-scale = 0.5; x = null; };",
                "--no-mmap --rope-scale 0.5 --swa-full",
            ),
            ('extraArgs = [ "-v" "two words" ];', '-v "two words"'),
        ],
    )
    def test_option(self, argv_of, options, expected):
        """The option makes these words, and they reach llama-server as they are."""
        got = argv_of(f'models.m = {{ path = "/w.gguf"; {options} }}; defaults.jinja = null;')
        assert got == ["llama-server", "--model", "/w.gguf", *shlex.split(expected), "--port", "${PORT}"]

    def test_json_arguments(self, argv_of):
        """A set becomes JSON in one word."""
        words = argv_of(
            'models.m = { path = "/w"; chatTemplateKwargs = { enable_thinking = false; note = "it\'s"; }; };'
        )
        assert json.loads(words[words.index("--chat-template-kwargs") + 1]) == {
            "enable_thinking": False,
            "note": "it's",
        }

    def test_a_chat_template_as_text(self, argv_of, nix):
        """The text of a template becomes a file in the store, named after the model."""
        words = argv_of('models.m = { path = "/w"; chatTemplate = "{{ messages }}"; };')
        assert words[words.index("--chat-template-file") + 1].endswith("-m.jinja")

    def test_pinned_weights_come_from_the_store(self, argv_of):
        """With a hash the weights are a file of the store, whatever the source."""
        pin = f'sha256 = "{"0" * 52}";'
        for source in (f'hf = {{ repo = "o/n"; file = "a.gguf"; {pin} }};', f'url = "https://h/a.gguf?x=1"; {pin}'):
            words = argv_of(f"models.m = {{ {source} }};")
            assert words[1] == "--model"
            assert words[2].endswith("-a.gguf")
            assert "--model-url" not in words

    def test_a_pinned_file_with_an_odd_name(self, nix, tmp_path):
        """A name that the store does not take is made one that it does."""
        file = tmp_path / "a b.gguf"
        file.write_text("x")
        digest = hashlib.sha256(b"x").hexdigest()
        cmd = nix.swap(f'models.m = {{ path = "{file}"; sha256 = "{digest}"; }};')["models"]["m"]["cmd"]
        assert re.search(r"--model \S+-a-b\.gguf ", cmd)

    def test_a_command_as_words(self, argv_of):
        """A list of words is quoted for the service."""
        got = argv_of('models.m.cmd = [ "vllm" "serve" "it\'s \\"x\\"" "--port" "\\${PORT}" ];')
        assert got == ["vllm", "serve", 'it\'s "x"', "--port", "${PORT}"]

    def test_a_package_of_its_own(self, nix):
        """One model may use another build of llama.cpp."""
        cmd = nix.swap(
            'models.m = { path = "/w"; package = (import <nixpkgs/lib>).recursiveUpdate { } '
            '{ type = "derivation"; outPath = "/nix/store/zz-other"; name = "other"; }; };'
        )["models"]["m"]["cmd"]
        assert cmd.startswith("/nix/store/zz-other/bin/llama-server ")


class TestModelKeys:
    """llama-swap's own keys of a model."""

    def test_all_keys(self, nix):
        """Each key is rendered under llama-swap's name and shape."""
        got = nix.swap("""
          models.m = {
            path = "/w"; ttl = "1h"; unloadTimeout = 20; healthCheckTimeout = "10m"; priority = 5;
            name = "N"; description = "D"; aliases = [ "a" ]; env = { CUDA_VISIBLE_DEVICES = 0; X = "y z"; };
            concurrencyLimit = 0; unlisted = true; useModelName = "u"; cmdStop = "kill \\${PID}";
            checkEndpoint = "none";
            proxy = "http://127.0.0.1:\\${PORT}"; metadata.size = 1.5; macros.a = 1; timeouts.connect = 5;
            filters = { stripParams = "top_k, seed"; setParams.x = 1; setParamsByID.q.y = 2; };
            capabilities = { "in" = [ "text" "image" ]; tools = true; context = 4096; };
            variants.low = { sampling.temp = 0.2; chatTemplateKwargs.effort = "low"; setParams.z = null; };
          };
        """)
        model = got["models"]["m"]
        assert model.pop("cmd")
        assert model == {
            "ttl": 3600,
            "unloadTimeout": 20,
            "healthCheckTimeout": 600,
            "name": "N",
            "description": "D",
            "aliases": ["a"],
            "env": ["CUDA_VISIBLE_DEVICES=0", "X=y z"],
            "concurrencyLimit": 0,
            "unlisted": True,
            "useModelName": "u",
            "cmdStop": "kill ${PID}",
            "checkEndpoint": "none",
            "proxy": "http://127.0.0.1:${PORT}",
            "metadata": {"size": 1.5},
            "macros": {"a": 1},
            "timeouts": {"connect": 5},
            "filters": {
                "stripParams": "top_k,seed",
                "setParams": {"x": 1},
                "setParamsByID": {
                    "q": {"y": 2},
                    "low": {"temperature": 0.2, "chat_template_kwargs": {"effort": "low"}, "z": None},
                },
            },
            "capabilities": {"in": ["text", "image"], "tools": True, "context": 4096},
        }
        assert got["routing"]["scheduler"]["settings"]["fifo"]["priority"] == {"m": 5}

    def test_top_level_options(self, nix):
        """Groups, preload and times reach the settings."""
        got = nix.swap("""
          models.m.path = "/w"; groups.g = { members = [ "m" ]; swap = false; };
          preload = [ "m" ]; globalTTL = "2h"; healthCheckTimeout = 300;
        """)
        assert got["groups"] == {"g": {"members": ["m"], "swap": False, "exclusive": True, "persistent": False}}
        assert got["hooks"]["on_startup"]["preload"] == ["m"]
        assert (got["globalTTL"], got["healthCheckTimeout"]) == (7200, 300)

    @pytest.mark.parametrize(
        "mistake",
        ['ttl = "soon";', "ctxSize = -1;", "ctxsize = 1;", 'gpu.splitMode = "both";', 'hf = "no-owner";', "path = 3;"],
    )
    def test_wrong_types_are_refused(self, nix, mistake):
        """A misspelt option or a value of the wrong type is an error that names the model."""
        with pytest.raises(nix.Error, match=r"models\.m\."):
            nix.swap(f"models.m = {{ {mistake} }};")


class TestLayers:
    """Defaults, then profiles, then the model."""

    def test_order(self, argv_of):
        """The model wins over its profiles, a later profile over an earlier one, profiles over the defaults."""
        words = argv_of("""
          defaults = { threads = 1; batchSize = 1; parallel = 1; ubatchSize = 1; jinja = null; };
          profiles.a = { batchSize = 2; parallel = 2; ubatchSize = 2; };
          profiles.b = { parallel = 3; ubatchSize = 3; };
          models.m = { path = "/w"; profiles = [ "a" "b" ]; ubatchSize = 4; };
        """)
        expected = "--parallel 3 --batch-size 2 --ubatch-size 4 --threads 1"
        assert " ".join(words[3:-2]) == expected

    def test_sets_merge_and_lists_replace(self, nix):
        """Sets are merged key by key through all layers; a list of the model replaces the list of a layer."""
        got = nix.swap("""
          defaults = { flags = { a = 1; b = 1; }; env.X = "1"; extraArgs = [ "-d" ]; };
          profiles.p.flags.b = 2;
          models.m = { path = "/w"; profiles = [ "p" ]; flags.c = 3; extraArgs = [ "-m" ]; };
        """)["models"]["m"]
        assert "--a 1 --b 2 --c 3 -m --port" in got["cmd"]
        assert got["env"] == ["X=1"]

    def test_null_takes_a_default_back(self, argv_of):
        """A model can unset what a layer sets."""
        assert "--threads" not in argv_of('defaults.threads = 8; models.m = { path = "/w"; threads = null; };')

    def test_defaults_may_name_profiles(self, argv_of):
        """A profile can be everybody's."""
        words = argv_of('defaults.profiles = [ "p" ]; profiles.p.threads = 3; models.m.path = "/w";')
        assert "--threads 3" in " ".join(words)

    @pytest.mark.parametrize("layer", ["defaults", "profiles.p"])
    def test_errors_name_the_layer(self, nix, layer):
        """A mistake in a layer is reported there, not in the models that use it."""
        with pytest.raises(nix.Error, match=rf"services\.llama-swap\.{layer}\.threads"):
            nix.swap(f'{layer}.threads = "x"; models.m = {{ path = "/w"; profiles = [ "p" ]; }};')


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


class TestUnit:
    """What systemd is told."""

    def test_an_edit_reloads(self, nix):
        """The unit names a stable path, so an edit changes the reload trigger and nothing else."""
        before, after = unit(nix, 'models.m.path = "/a";'), unit(nix, 'models.m.path = "/b";')
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
        config = unit(nix)["serviceConfig"]
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
        service = unit(nix)
        assert service["serviceConfig"]["PrivateDevices"] is True
        assert "LD_LIBRARY_PATH" not in service["environment"]
        assert "SupplementaryGroups" not in service["serviceConfig"]

    def test_cuda(self, nix):
        """With an NVIDIA driver its device nodes and libraries are there, and only they."""
        service = unit(nix, "", 'hardware.graphics.enable = true; services.xserver.videoDrivers = [ "nvidia" ];')
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
        config = unit(nix, 'gpu = { enable = true; backend = "vulkan"; extraDevices = [ "/dev/x" ]; };')[
            "serviceConfig"
        ]
        assert config["PrivateUsers"] is False
        assert config["MemoryDenyWriteExecute"] is False
        assert config["DeviceAllow"] == ["char-drm rw", "/dev/x rw"]
        assert "AF_NETLINK" not in config["RestrictAddressFamilies"]

    def test_vulkan_on_nvidia(self, nix):
        """NVIDIA's Vulkan driver opens NVIDIA's nodes."""
        host = 'hardware.graphics.enable = true; services.xserver.videoDrivers = [ "nvidia" ];'
        config = unit(nix, 'gpu.backend = "vulkan";', host)["serviceConfig"]
        assert {"char-nvidiactl rw", "char-drm rw"} <= set(config["DeviceAllow"])

    def test_rocm(self, nix):
        """ROCm opens /dev/kfd, and no node of NVIDIA."""
        config = unit(nix, 'gpu = { enable = true; backend = "rocm"; };')["serviceConfig"]
        assert config["DeviceAllow"] == ["char-drm rw", "char-kfd rw"]

    def test_secrets_stay_out_of_the_unit(self, nix):
        """Keys are credentials: neither the configuration nor the unit has more than the path of the file."""
        settings = 'apiKeyFiles = [ "/run/secrets/key" ];'
        config = unit(nix, settings)["serviceConfig"]
        assert config["LoadCredential"] == ["api-key-0:/run/secrets/key"]
        assert nix.swap(settings)["apiKeys"] == [{"credential": "api-key-0"}]
        assert "with-credentials" not in config["ExecStart"]

    def test_other_secrets_are_variables(self, nix):
        """Tokens for the models are credentials, too, and a script makes variables of them."""
        config = unit(nix, 'credentials.HF_TOKEN = "/run/secrets/hf"; environmentFile = "/run/env";')["serviceConfig"]
        assert config["LoadCredential"] == ["HF_TOKEN:/run/secrets/hf"]
        assert config["EnvironmentFile"] == ["/run/env"]
        assert "with-credentials" in config["ExecStart"]

    def test_keys_of_go_llama_swap_are_variables(self, nix):
        """The Go program reads keys from nowhere else."""
        settings = 'package = pkgs.llama-swap; apiKeyFiles = [ "/run/secrets/key" ];'
        assert nix.swap(settings)["apiKeys"] == ["${env.LLAMA_SWAP_API_KEY_0}"]
        assert "with-credentials" in unit(nix, settings)["serviceConfig"]["ExecStart"]

    def test_tls(self, nix):
        """Certificate and key are credentials, so the service's user needs no access to the files."""
        config = unit(nix, 'tls = { enable = true; certFile = "/run/c.pem"; keyFile = "/run/k.pem"; };')[
            "serviceConfig"
        ]
        assert config["ExecStart"].endswith("--tls-cert-file %d/tls-cert --tls-key-file %d/tls-key")
        assert config["LoadCredential"] == ["tls-cert:/run/c.pem", "tls-key:/run/k.pem"]

    def test_a_user_of_ones_own(self, nix):
        """A static user replaces the made-up one."""
        config = unit(nix, 'user = "me"; group = "users";')["serviceConfig"]
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
        assert unit(nix)["stopIfChanged"] is False
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
        service = unit(nix, f'listenAddress = "{address}"; apiKeyFiles = [ "/run/k" ];')
        assert ("network-online.target" in service["after"]) is waits
        assert ("network-online.target" in service["wants"]) is waits

    def test_the_start_limit_fits_the_delays(self, nix):
        """With the growing delays the unit never runs into its own limit, so what comes late is still found."""
        service = unit(nix)
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
        config = unit(nix, 'modelDirs = [ "/home/me/models" "/mnt/models" ];')["serviceConfig"]
        assert config["ProtectHome"] == "tmpfs"
        assert config["BindReadOnlyPaths"] == ["-/home/me/models"]

    def test_disabled_is_nothing(self, nix):
        """Importing the module alone changes nothing."""
        assert nix.machine("{ }", "[ config.systemd.services config.environment.etc config.warnings ]") == [{}, {}, []]


class TestClients:
    """Client configurations that cannot drift from the models."""

    SETTINGS = """
      listenAddress = "0.0.0.0"; apiKeyFiles = [ "/run/k" ];
      models.chat = { path = "/c"; ctxSize = 8192; capabilities = { "in" = [ "text" "image" ]; tools = true; };
                      variants.quick = { }; aliases = [ "c" ]; };
      models.fit = { path = "/f"; ctxSize = 0; fit.ctx = 16384; name = "Fitted"; };
      models.vec = { path = "/v"; embeddings = true; };
      models.shared = { path = "/s"; ctxSize = 131072; parallel = 2; };
      models.hidden = { path = "/h"; unlisted = true; };
    """

    def clients(self, nix) -> dict:
        """All generated configurations."""
        return nix.machine(
            f'{{ networking.hostName = "pc"; services.llama-swap = {{ enable = true; {self.SETTINGS} }}; }}',
            "config.services.llama-swap.clients",
        )

    def test_openai(self, nix):
        """Every listed model and variant is there with its context; aliases and unlisted models are not."""
        got = self.clients(nix)["openai"]
        assert got["base_url"] == "http://pc:9292/v1"
        assert {model["id"]: model["context"] for model in got["models"]} == {
            "chat": 8192,
            "quick": 8192,
            "fit": 16384,
            "vec": None,
            "shared": 65536,
        }

    def test_opencode(self, nix):
        """The provider for opencode comes with limits and capabilities, without what cannot chat."""
        provider = self.clients(nix)["opencode"]["provider"]["llama-swap"]
        assert provider["npm"] == "@ai-sdk/openai-compatible"
        assert provider["options"] == {"baseURL": "http://pc:9292/v1"}
        assert provider["models"]["chat"] == {
            "name": "chat",
            "limit": {"context": 8192, "output": 2048},
            "tool_call": True,
            "attachment": True,
        }
        assert set(provider["models"]) == {"chat", "quick", "fit", "shared"}
        assert provider["models"]["shared"]["limit"] == {"context": 65536, "output": 8192}

    def test_pi(self, nix):
        """The provider for pi has the same models in its own words."""
        provider = self.clients(nix)["pi"]["providers"]["llama-swap"]
        assert provider["api"] == "openai-completions"
        assert {"id": "fit", "name": "Fitted", "input": ["text"], "contextWindow": 16384} in provider["models"]

    def test_the_public_name_is_one_for_browsers(self, nix):
        """A public URL that was set names a host that browsers may use; settings win over it."""
        assert nix.swap('publicUrl = "https://llm.example.org:8443";')["allowedHosts"] == ["llm.example.org"]
        assert "allowedHosts" not in nix.swap("")
        both = 'publicUrl = "https://a.example.org"; settings.allowedHosts = [ "b.example.org" ];'
        assert nix.swap(both)["allowedHosts"] == ["b.example.org"]

    def test_a_host_without_a_name(self, nix):
        """NixOS allows an empty host name; clients then get one that leads here."""
        text = '{ networking.hostName = ""; services.llama-swap = { enable = true; listenAddress = "0.0.0.0"; }; }'
        assert nix.machine(text, "config.services.llama-swap.publicUrl") == "http://localhost:9292"

    def test_wrong_shapes_are_no_clients(self, nix):
        """What `llama-swap check` will refuse is not an error of Nix before it can."""
        settings = "settings.models = { a = null; b.filters.setParamsByID = 3; c.capabilities = null; };"
        models = nix.swap(settings, "config.services.llama-swap.clients.openai.models")
        assert [model["id"] for model in models] == ["a", "b", "c"]

    def test_they_are_read_only(self, nix):
        """Nobody can make a client's list say something else."""
        with pytest.raises(nix.Error, match="read-only"):
            nix.swap("clients.pi = { };", "config.services.llama-swap.clients.pi")
