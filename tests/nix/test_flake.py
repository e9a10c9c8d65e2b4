"""The flake: its lock, its outputs, and what it makes of llama.cpp."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAKE = f"import {ROOT}/tests/nix/stub/flake.nix"
PINNED_REV = "597283ad8aa0b331c788e97c4c262d58877074ef"


def test_the_lock_fits_the_flake(nix, tmp_path):
    """Nix takes the lock file as it is: it neither asks the network nor writes another one."""
    flake = tmp_path / "flake"
    flake.mkdir()
    for name in ("flake.nix", "flake.lock"):
        shutil.copy(ROOT / name, flake)
    done = nix.run("nix", "flake", "metadata", f"path:{flake}", "--no-update-lock-file", "--json")
    if "unrecognised" in done.stderr or "experimental" in done.stderr:
        pytest.skip(f"this Nix knows no flakes: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    locked = json.loads(done.stdout)["locks"]["nodes"]["nixpkgs"]["locked"]
    assert locked["rev"] == PINNED_REV
    assert (flake / "flake.lock").read_text() == (ROOT / "flake.lock").read_text()


def test_the_lock_is_written_as_nix_writes_it():
    """Sorted keys, two spaces, a newline at the end: a re-lock of the same input changes nothing."""
    text = (ROOT / "flake.lock").read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_the_outputs(nix):
    """The outputs are those a user of a NixOS flake expects, on both systems."""
    shape = nix.evaluate(
        f'lib.mapAttrs (name: value: if lib.elem name [ "lib" "nixosModules" "overlays" "nixosConfigurations" ]'
        f' then lib.attrNames value else if name == "formatter" then {{ }} else lib.mapAttrs (_: lib.attrNames) value)'
        f' (removeAttrs ({FLAKE}) [ "_type" "outPath" ])'
    )
    assert shape["nixosModules"] == ["default", "llama-swap"]
    assert shape["overlays"] == ["default"]
    assert {"quoteArg", "renderCommand", "renderFlags", "parseDuration"} <= set(shape["lib"])
    assert shape["nixosConfigurations"] == ["example"]
    for system in ("x86_64-linux", "aarch64-linux"):
        assert {"default", "llama-swap", "llama-cpp", "llama-cpp-cuda", "llama-cpp-cpu", "docs"} <= set(
            shape["packages"][system]
        )
        assert {"default", "demo", "check-config", "update-llama-cpp"} <= set(shape["apps"][system])
        assert {"package", "lint", "renderers", "evaluation", "options-doc", "example-host"} <= set(
            shape["checks"][system]
        )
        assert "default" in shape["devShells"][system]
    machines = {path.stem for path in (ROOT / "tests" / "nixos").glob("*.nix")}
    assert {f"vm-{name}" for name in machines} == {
        name for name in shape["checks"]["x86_64-linux"] if name.startswith("vm-")
    }
    assert not [name for name in shape["checks"]["aarch64-linux"] if name.startswith("vm-")]


def test_every_output_is_a_derivation(nix):
    """Packages, checks, shells and the formatter evaluate to derivations; apps to programs."""
    kinds = nix.evaluate(
        f"let self = {FLAKE}; per = kind: lib.mapAttrsToList (_: value: value.type) self.${{kind}}.x86_64-linux;"
        ' in { derivations = per "packages" ++ per "checks" ++ per "devShells" ++ [ self.formatter.x86_64-linux.type ];'
        ' apps = per "apps"; programs = lib.mapAttrsToList (_: app: app.program) self.apps.x86_64-linux; }'
    )
    assert set(kinds["derivations"]) == {"derivation"}
    assert set(kinds["apps"]) == {"app"}
    assert all(program.startswith("/") for program in kinds["programs"])


def test_the_overlay_leaves_the_names_of_nixpkgs_alone(nix):
    """Nobody's llama-cpp or llama-swap changes because they use our overlay."""
    names = nix.evaluate(f"lib.attrNames (({FLAKE}).overlays.default (pkgs // {{ }}) pkgs)")
    assert names == ["llama-cpp-pinned", "llama-swap-py"]


def test_the_package_is_what_pyproject_says(nix):
    """Dependencies and version are read from pyproject.toml, and every word there is understood."""
    project = tomllib.loads((ROOT / "python" / "pyproject.toml").read_text())["project"]
    built = nix.evaluate(
        f"let package = pkgs.callPackage {ROOT}/nix/package.nix {{ }}; in {{ inherit (package.arguments) version;"
        " names = map (dependency: dependency.name) package.arguments.dependencies; }"
    )
    declared = [*project["dependencies"], *project["optional-dependencies"]["speed"]]
    assert built["version"] == project["version"]
    assert built["names"] == [re.split(r"[^A-Za-z0-9._-]", word)[0].lower() for word in declared]


def llama_cpp(nix, arguments: str, wanted: str):
    """A part of llama-cpp.nix's result."""
    return nix.evaluate(f"let package = pkgs.callPackage {ROOT}/nix/llama-cpp.nix {{ {arguments} }}; in {wanted}")


def test_a_stale_hash_cannot_hide(nix):
    """The source's name carries its version, and the program must print the pinned build number."""
    pins = json.loads((ROOT / "nix" / "pins.json").read_text())
    assert llama_cpp(nix, "", "package.src.name") == f"llama.cpp-v{pins['version']}-source"
    assert llama_cpp(nix, "", "package.src.outputHash") == pins["hash"]
    assert f"grep -w {pins['build']} version" in llama_cpp(nix, "", "package.installCheckPhase")
    assert llama_cpp(nix, "", "package.doInstallCheck") is True


def test_no_pages_means_no_node(nix):
    """Without its web pages llama.cpp is built without Node.js and without a hash of npm packages."""
    inputs = "map lib.getName package.nativeBuildInputs"
    assert llama_cpp(nix, "", inputs) == ["cmake", "ninja"]
    assert llama_cpp(nix, "", "package.npmDeps") is None
    assert llama_cpp(nix, "withUI = true;", inputs) == ["cmake", "nodejs-slim", "npm-config-hook", "ninja"]
    assert "npm run build" in llama_cpp(nix, "withUI = true;", "package.preConfigure")
    pins = json.loads((ROOT / "nix" / "pins.json").read_text())
    assert llama_cpp(nix, "withUI = true;", "package.npmDepsHash") == pins["npmDepsHash"]


def test_the_build_number_is_an_integer(nix):
    """The recipe passes the version, which no longer is one number; ours replaces it and says it once."""
    flags = llama_cpp(nix, "", "package.cmakeFlags")
    assert [flag for flag in flags if "BUILD_NUMBER" in flag] == ["-DLLAMA_BUILD_NUMBER:STRING=11429"]
    assert "-DLLAMA_BUILD_UI:BOOL=FALSE" in flags
    assert "-DGGML_NATIVE:BOOL=FALSE" in flags


def test_one_gpu_and_one_cpu(nix):
    """`cudaCapabilities` and `cpuArch` narrow the build to one machine."""
    flags = llama_cpp(nix, 'cudaCapabilities = [ "8.6" "8.9" ]; cpuArch = "znver2";', "package.cmakeFlags")
    assert [flag for flag in flags if "CUDA_ARCH" in flag] == ["-DCMAKE_CUDA_ARCHITECTURES:STRING=86;89"]
    assert "-DCMAKE_CXX_FLAGS:STRING=-march=znver2" in flags
    assert [flag for flag in flags if "ALL_VARIANTS" in flag] == ["-DGGML_CPU_ALL_VARIANTS:BOOL=FALSE"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {"cudaSupport": False, "rocmSupport": False, "vulkanSupport": False}),
        ("cudaSupport = true;", {"cudaSupport": True, "rocmSupport": False, "vulkanSupport": False}),
        ("vulkanSupport = true;", {"cudaSupport": False, "rocmSupport": False, "vulkanSupport": True}),
    ],
)
def test_backends_reach_the_recipe(nix, arguments, expected):
    """Each backend is switched on in nixpkgs' recipe."""
    assert llama_cpp(nix, arguments, "package.overridden") == expected


def test_the_example_host(nix):
    """The flake's example host gets a CUDA llama.cpp from its own package set, and a unit that may use the GPU."""
    got = nix.evaluate(
        f"let config = ({FLAKE}).nixosConfigurations.example.config; in {{ unit = config.systemd.services.llama-swap;"
        " cuda = config.services.llama-swap.llamaCppPackage.passthru.cudaSupport; inherit (config) warnings; }"
    )
    assert got["cuda"] is True
    assert got["warnings"] == []
    assert "char-nvidiactl rw" in got["unit"]["serviceConfig"]["DeviceAllow"]


@pytest.fixture
def checkout(nix, tmp_path) -> tuple[Path, Path]:
    """The files of this repository without what git ignores, and a nixpkgs to check its flake with."""
    if nix.evaluate("builtins ? readFileType") is not True:
        pytest.skip("this Nix is too old for lib.fileset in a flake")
    flake, nixpkgs = tmp_path / "flake", tmp_path / "nixpkgs"
    parts = ("nix", "tests/nix", "tests/nixos", "tests/unit", "tests/scheduler", "docs", "python/src")
    for target, names in ((flake, parts), (nixpkgs / "repository", ("nix", "tests/nix", "tests/nixos"))):
        for name in names:
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        (target / "python").mkdir(exist_ok=True)
        for name in ("python/pyproject.toml", "nixos-module.nix", "flake.nix", "flake.lock", "LICENSE"):
            shutil.copy(ROOT / name, target / name)
    shutil.copytree(ROOT / "tests" / "nix" / "stub" / "nixpkgs-flake", nixpkgs, dirs_exist_ok=True)
    shutil.copytree(nix.evaluate("toString <nixpkgs/lib>"), nixpkgs / "lib")
    return flake, nixpkgs


def test_nix_flake_check(nix, checkout):
    """Nix itself finds every output of the right kind, on both systems, evaluated purely."""
    flake, nixpkgs = checkout
    options = ("--no-build", "--all-systems", "--no-write-lock-file")
    done = nix.run("nix", "flake", "check", f"path:{flake}", *options, "--override-input", "nixpkgs", f"path:{nixpkgs}")
    assert done.returncode == 0, done.stderr
