# The llama-server options people really use, as a table: where the option lives under a model, its type, and the arguments it makes.
# Everything else goes through `flags` (attributes) or `extraArgs` (a list).
{ lib, renderers }:
let
  inherit (lib) types;
  inherit (renderers) renderFlag;

  # One option that becomes one long flag.
  flag = path: name: type: description: {
    inherit path type description;
    args = renderFlag name;
  };
  uint = types.ints.unsigned;
  onOff = types.coercedTo types.bool (on: if on then "on" else "off") (
    types.enum [
      "on"
      "off"
      "auto"
    ]
  );
  perKeyValue = types.submodule {
    options = lib.genAttrs [ "k" "v" ] (
      part:
      lib.mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "Type of the cached ${if part == "k" then "keys" else "values"}.";
      }
    );
  };
  adapter = types.coercedTo (types.either types.path types.str) (path: { inherit path; }) (
    types.submodule {
      options = {
        path = lib.mkOption {
          type = types.either types.path types.str;
          description = "The adapter, a GGUF file.";
        };
        scale = lib.mkOption {
          type = types.nullOr types.number;
          default = null;
          description = "Strength of the adapter; null means 1.";
        };
      };
    }
  );
  loraArgs =
    adapters:
    let
      scaled = lib.any (entry: entry.scale != null) adapters;
      word =
        entry:
        if scaled then
          "${entry.path}:${renderers.renderScalar (if entry.scale == null then 1 else entry.scale)}"
        else
          "${entry.path}";
    in
    renderFlag (if scaled then "lora-scaled" else "lora") (map word adapters);
in
[
  (flag
    [
      "ctxSize"
    ]
    "ctx-size"
    uint
    "Context length in tokens for all parallel sequences together; 0 takes the model's own."
  )
  (
    flag [ "jinja" ] "jinja" types.bool "Use the model's Jinja chat template (tool calls need it)."
    // {
      default = true;
    }
  )
  (flag [ "flashAttn" ] "flash-attn" onOff "Flash attention: `on`, `off` or `auto` (or a boolean).")
  {
    path = [ "cacheType" ];
    type = types.coercedTo types.str (type: {
      k = type;
      v = type;
    }) perKeyValue;
    description = "Data type of the KV cache: one such as `\"q8_0\"`, or `{ k; v; }`.";
    args = value: renderFlag "cache-type-k" value.k ++ renderFlag "cache-type-v" value.v;
  }
  (flag [
    "parallel"
  ] "parallel" types.ints.positive "How many sequences are decoded at once; they share the context.")
  (flag [ "batchSize" ] "batch-size" types.ints.positive "Logical batch size.")
  (flag
    [
      "ubatchSize"
    ]
    "ubatch-size"
    types.ints.positive
    "Physical batch size: larger is faster on long prompts and takes more memory."
  )
  (flag [ "threads" ] "threads" types.ints.positive "CPU threads for generation.")
  (flag [ "threadsBatch" ] "threads-batch" types.ints.positive "CPU threads for prompts.")
  (flag [ "gpu" "layers" ] "n-gpu-layers" (types.either uint (
    types.enum [
      "auto"
      "all"
    ]
  )) "Layers kept in GPU memory.")
  (flag [ "gpu" "mainGpu" ] "main-gpu" uint "The GPU that holds what is not split.")
  (flag [ "gpu" "splitMode" ] "split-mode" (types.enum [
    "none"
    "layer"
    "row"
    "tensor"
  ]) "How a model is spread over several GPUs.")
  (flag [ "gpu" "tensorSplit" ] "tensor-split" (types.listOf types.number) "Proportion for each GPU.")
  (flag [
    "gpu"
    "devices"
  ] "device" (types.listOf types.str) "Devices to use, as `llama-server --list-devices` names them.")
  (flag [ "gpu" "nCpuMoe" ] "n-cpu-moe" uint "Keep the experts of the first N layers in main memory.")
  (flag [ "gpu" "cpuMoe" ] "cpu-moe" types.bool "Keep all experts in main memory.")
  (flag [
    "fit"
    "enable"
  ] "fit" onOff "Let llama.cpp lower what is not set so that the model fits the GPUs.")
  (flag [ "fit" "target" ] "fit-target" (types.either uint (
    types.listOf uint
  )) "Memory to leave free on each GPU, in MiB.")
  (flag [ "fit" "ctx" ] "fit-ctx" uint "The smallest context that fitting may choose.")
  (flag [ "spec" "type" ] "spec-type" types.str "Speculative decoding, for example `draft-mtp`.")
  (flag [ "spec" "draftNMax" ] "spec-draft-n-max" uint "Most tokens drafted at once.")
  (flag [ "spec" "draftNMin" ] "spec-draft-n-min" uint "Fewest tokens drafted at once.")
  (flag [ "spec" "draftModel" ] "spec-draft-model" types.str "The draft model, a GGUF file.")
  {
    path = [ "lora" ];
    type = types.listOf adapter;
    description = "LoRA adapters: paths, or `{ path; scale; }`.";
    args = loraArgs;
  }
  (flag [ "chatTemplateKwargs" ] "chat-template-kwargs" (types.attrsOf types.anything)
    "Arguments of the chat template, for example `{ reasoning_effort = \"low\"; }`."
  )
  (flag [
    "reasoning"
    "format"
  ] "reasoning-format" types.str "How thoughts are returned, for example `deepseek` or `none`.")
  (flag [
    "reasoning"
    "budget"
  ] "reasoning-budget" types.int "Most tokens of thought; -1 is no limit, 0 none.")
  (flag [ "sampling" "temp" ] "temp" types.number "Default temperature.")
  (flag [ "sampling" "topP" ] "top-p" types.number "Default top-p.")
  (flag [ "sampling" "topK" ] "top-k" uint "Default top-k.")
  (flag [ "sampling" "minP" ] "min-p" types.number "Default min-p.")
  (flag [ "sampling" "presencePenalty" ] "presence-penalty" types.number "Default presence penalty.")
  (flag [
    "sampling"
    "frequencyPenalty"
  ] "frequency-penalty" types.number "Default frequency penalty.")
  (flag [ "sampling" "repeatPenalty" ] "repeat-penalty" types.number "Default repeat penalty.")
  (flag [ "sampling" "seed" ] "seed" types.int "Default seed.")
  (flag [ "embeddings" ] "embeddings" types.bool "Serve embeddings (and nothing else).")
  (flag [ "reranking" ] "reranking" types.bool "Serve reranking.")
  (flag [ "pooling" ] "pooling" (types.enum [
    "none"
    "mean"
    "cls"
    "last"
    "rank"
  ]) "How token embeddings are pooled.")
  (flag [
    "contextShift"
  ] "context-shift" types.bool "Drop the oldest tokens when the context is full.")
  (flag [ "swaFull" ] "swa-full" types.bool "Full-size cache for sliding-window attention.")
]
