"""Typed models: their commands, their keys, and the layers they are made of."""

import hashlib
import json
import re
import shlex

import pytest


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
