"""Ready-made configurations of clients."""

import pytest


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
