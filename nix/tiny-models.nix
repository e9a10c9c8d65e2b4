# Two real GGUF models of a few hundred kilobytes: alpha.gguf and beta.gguf.
{ pkgs, service }:
pkgs.runCommand "tiny-models"
  {
    nativeBuildInputs = [
      (pkgs.python3.withPackages (packages: [
        (packages.toPythonModule service)
        packages.gguf
      ]))
    ];
  }
  ''
    mkdir $out
    python3 - <<'PYTHON'
    import os
    from pathlib import Path
    from llama_swap.demo.tiny_gguf import TinyModel, write_tiny_model

    for seed, name in enumerate(["alpha", "beta"]):
        write_tiny_model(Path(os.environ["out"]) / f"{name}.gguf", TinyModel(name, f"This is {name} speaking.", seed=seed))
    PYTHON
  ''
