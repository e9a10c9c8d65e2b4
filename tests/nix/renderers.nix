# Tests of nix/lib.nix for `lib.runTests`: names say what must hold.
{ lib }:
let
  renderers = import ../../nix/lib.nix { inherit lib; };
  source =
    arguments:
    renderers.sourceArgs { fetch = { url, sha256 }: "/store/${sha256}-${baseNameOf url}"; } arguments;
  hf =
    arguments:
    {
      repo = "o/n";
      quant = null;
      file = null;
      revision = null;
      sha256 = null;
    }
    // arguments;
in
{
  testPlainWordsStayBare = {
    expr = renderers.renderCommand [
      "/nix/store/x-y/bin/llama-server"
      "--port"
      "\${PORT}"
      "a=b:c"
    ];
    expected = "/nix/store/x-y/bin/llama-server --port \${PORT} a=b:c";
  };
  testQuotesInsideQuotes = {
    expr = renderers.quoteArg "it's \"so\"";
    expected = "'it'\\''s \"so\"'";
  };
  testEmptyWord = {
    expr = renderers.quoteArg "";
    expected = "''";
  };
  testLinesThatLookLikeComments = {
    expr = renderers.quoteArg "a\n# b\\\nc";
    expected = "'a''\n''# b\\''\n''c'";
  };
  testFloatsKeepTheirDigits = {
    expr = renderers.renderFlags {
      temp = 0.95;
      tiny = 1.0e-7;
      whole = 3;
    };
    expected = [
      "--temp"
      "0.95"
      "--tiny"
      "1e-07"
      "--whole"
      "3"
    ];
  };
  testBooleans = {
    expr = renderers.renderFlags {
      embeddings = true;
      jinja = false;
      metrics = false;
    };
    expected = [
      "--embeddings"
      "--no-jinja"
    ];
  };
  testNullIsOmitted = {
    expr = renderers.renderFlag "seed" null;
    expected = [ ];
  };
  testListsAreJoined = {
    expr = renderers.renderFlag "tensor-split" [
      1.3
      3
    ];
    expected = [
      "--tensor-split"
      "1.3,3"
    ];
  };
  testEmptyListIsOmitted = {
    expr = renderers.renderFlag "device" [ ];
    expected = [ ];
  };
  testSetsAreJson = {
    expr = renderers.renderFlag "chat-template-kwargs" {
      enable_thinking = false;
      budget = 0.5;
    };
    expected = [
      "--chat-template-kwargs"
      "{\"budget\":0.5,\"enable_thinking\":false}"
    ];
  };
  testDurations = {
    expr = map renderers.parseDuration [
      90
      "90"
      "90s"
      "1h"
      "1h30m"
      "2d"
      "soon"
      "1 h"
      "-1"
      ""
    ];
    expected = [
      90
      90
      90
      3600
      5400
      172800
      null
      null
      null
      null
    ];
  };
  testHfText = {
    expr = map renderers.parseHf [
      "o/n"
      "o/n:Q4_K_M"
    ];
    expected = [
      { repo = "o/n"; }
      {
        repo = "o/n";
        quant = "Q4_K_M";
      }
    ];
  };
  testHfQuant = {
    expr = source { hf = hf { quant = "Q4"; }; };
    expected = [
      "--hf-repo"
      "o/n:Q4"
    ];
  };
  testHfFile = {
    expr = source { hf = hf { file = "m.gguf"; }; };
    expected = [
      "--hf-repo"
      "o/n"
      "--hf-file"
      "m.gguf"
    ];
  };
  testHfRevision = {
    expr = source {
      hf = hf {
        file = "m.gguf";
        revision = "abc";
      };
    };
    expected = [
      "--model-url"
      "https://huggingface.co/o/n/resolve/abc/m.gguf"
    ];
  };
  testHfPinned = {
    expr = source {
      hf = hf {
        file = "m.gguf";
        sha256 = "h";
      };
    };
    expected = [
      "--model"
      "/store/h-m.gguf"
    ];
  };
  testUrl = {
    expr = source { url = "https://example.org/m.gguf"; };
    expected = [
      "--model-url"
      "https://example.org/m.gguf"
    ];
  };
  testUrlPinned = {
    expr = source {
      url = "https://example.org/m.gguf";
      sha256 = "h";
    };
    expected = [
      "--model"
      "/store/h-m.gguf"
    ];
  };
  testPath = {
    expr = source { path = "/models/m.gguf"; };
    expected = [
      "--model"
      "/models/m.gguf"
    ];
  };
  testFlagNames = {
    expr = renderers.flagNames [
      "--port"
      "1"
      "--x=2"
      "-m"
    ];
    expected = [
      "port"
      "x"
    ];
  };
  testStorePaths = {
    expr = map renderers.inStore [
      "${builtins.storeDir}/x-key"
      "/run/secrets/key"
      ./renderers.nix
    ];
    expected = [
      true
      false
      true
    ];
  };
  testLoopback = {
    expr = map renderers.isLoopback [
      "127.0.0.1"
      "localhost"
      "::1"
      "[::1]"
      "0.0.0.0"
      "::"
      "127x"
    ];
    expected = [
      true
      true
      true
      true
      false
      false
      false
    ];
  };
  testWildcard = {
    expr = map renderers.isWildcard [
      ""
      "*"
      "0.0.0.0"
      "::"
      "[::]"
      "127.0.0.1"
      "::1"
      "0.0.0.0.example"
    ];
    expected = [
      true
      true
      true
      true
      true
      false
      false
      false
    ];
  };
  testHostPort = {
    expr = [
      (renderers.hostPort "127.0.0.1" 1)
      (renderers.hostPort "::" 1)
      (renderers.hostPort "[::1]" 1)
    ];
    expected = [
      "127.0.0.1:1"
      "[::]:1"
      "[::1]:1"
    ];
  };
  testAddresses = {
    expr = map renderers.isAddress [
      "192.0.2.1"
      "::"
      "[fe80::1%eth0]"
      "pc"
      "pc.example.org"
    ];
    expected = [
      true
      true
      false
      false
      false
    ];
  };
  testSocketAddress = {
    expr = map renderers.isSocketAddress [
      ""
      "*"
      "localhost"
      "::1"
      "pc"
    ];
    expected = [
      true
      true
      true
      true
      false
    ];
  };
  testSocketAddresses = {
    expr = map (address: renderers.socketAddresses address 1) [
      "localhost"
      "*"
      "2001:db8::1"
    ];
    expected = [
      [
        "127.0.0.1:1"
        "[::1]:1"
      ]
      [ "1" ]
      [ "[2001:db8::1]:1" ]
    ];
  };
}
