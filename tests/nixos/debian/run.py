"""Run the scenarios of the NixOS VM tests on a real systemd: a Debian, booted, with what the module renders.

The Debian gets the service from this repository, llama-server and Nix from its own archive, and two tiny models. Its
Nix evaluates the machines of tests/nixos/*.nix and builds their units and configurations, ``llama-swap check``
included; then it boots and drives itself. Needs root, mmdebstrap, mke2fs, qemu-system-x86_64, and nixpkgs' lib.
"""

# ruff: noqa: T201 - a program that talks to the console

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "llama-swap-test-vm"
PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "jq",
    "kmod",
    "linux-image-cloud-amd64",
    "llama.cpp-tools",
    "nftables",
    "nix-bin",
    "procps",
    "python3",
    "python3-pip",
    "python3-venv",
    "systemd",
    "systemd-sysv",
    "util-linux",
)
# Where this repository is in the Debian.
TESTS = "/opt/repository/tests/nixos"
COPIED = ("flake.nix", "nixos-module.nix", "nix", "tests/nix", "tests/nixos", "LICENSE", "python/pyproject.toml")
BORROWED = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
UNIT = """\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
ExecStart=/usr/bin/python3 {tests}/debian/driver.py /opt/systems {tests}/scenarios /results.json {names}
ExecStopPost=/usr/bin/systemctl poweroff --no-block
[Install]
WantedBy=graphical.target
"""
NIX_CONFIG = "sandbox = false\nbuild-users-group =\nsubstitute = false\n"


def main() -> None:
    """Build, boot, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="scenarios to run (all)")
    parser.add_argument("--boot", choices=["auto", "kvm", "tcg"], default="auto", help="how to boot it (auto)")
    parser.add_argument("--seconds", type=int, default=1800, help="give up after so long (%(default)s)")
    arguments = parser.parse_args()
    base = base_system()
    root = CACHE / "root"
    prepare(base, root, arguments.names)
    way = arguments.boot if arguments.boot != "auto" else ("kvm" if kvm_works(root) else "tcg")
    print(f"booting: {way}", flush=True)
    results = boot_qemu(root, way, arguments.seconds)
    if results is None:
        sys.exit("the machine wrote no results")
    for name, passed in results.items():
        print(f"{'passed' if passed else 'FAILED'}: {name}")
    sys.exit(not all(results.values()))


def base_system() -> Path:
    """A Debian with what we need from its archive, made once for each list of packages."""
    archive = CACHE / f"base-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:12]}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        run(
            "mmdebstrap",
            "--variant=minbase",
            # A mirror's list of unstable may be a few days old.
            '--aptopt=Acquire::Check-Valid-Until "false"',
            f"--include={','.join(PACKAGES)}",
            "unstable",
            f"{archive}.new.tar",
            # mmdebstrap knows a mirror by itself.
            *filter(None, [os.environ.get("DEBIAN_MIRROR")]),
        )
        Path(f"{archive}.new.tar").rename(archive)
    return archive


def prepare(base: Path, root: Path, names: list[str]) -> None:
    """Unpack the Debian and put the service, the models and the evaluated machines into it."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run("tar", "--extract", f"--file={base}", f"--directory={root}", "--exclude=./dev/*")
    repository = root / "opt" / "repository"
    for name in COPIED:
        copy(ROOT / name, repository / name)
    copy(ROOT / "python" / "src", repository / "python" / "src")
    copy(nixpkgs_lib(), root / "opt" / "nixpkgs" / "lib")
    write_models(root / "var" / "lib" / "models")
    with inside(root):
        install_service(root)
        nix_build(root)
    (root / "etc" / "hostname").write_text("machine\n")
    (root / "etc" / "systemd" / "system" / "scenarios.service").write_text(
        UNIT.format(tests=TESTS, names=" ".join(names))
    )
    wanted = root / "etc" / "systemd" / "system" / "graphical.target.wants" / "scenarios.service"
    wanted.parent.mkdir(exist_ok=True)
    wanted.symlink_to("../scenarios.service")
    (root / "etc" / "systemd" / "system" / "default.target").symlink_to("/usr/lib/systemd/system/graphical.target")


def install_service(root: Path) -> None:
    """Install the Python package of this repository as the Debian's user would."""
    chroot(root, "python3 -m venv /opt/llama-swap")
    chroot(root, "/opt/llama-swap/bin/pip install --quiet --no-input /opt/repository/python")


def nix_build(root: Path) -> None:
    """Evaluate and build the machines with the Debian's own Nix."""
    (root / "etc" / "nix").mkdir(exist_ok=True)
    (root / "etc" / "nix" / "nix.conf").write_text(NIX_CONFIG)
    chroot(
        root,
        f"NIX_PATH=nixpkgs=/opt/nixpkgs nix-build --out-link /opt/systems {TESTS}/debian/systems.nix",
    )


def write_models(folder: Path) -> None:
    """Two models of a few hundred kilobytes whose answers tell them apart."""
    from llama_swap.demo.tiny_gguf import TinyModel, write_tiny_model  # noqa: PLC0415 - needs the `demo` extra

    folder.mkdir(parents=True)
    for seed, name in enumerate(("alpha", "beta")):
        write_tiny_model(folder / f"{name}.gguf", TinyModel(name, f"This is {name} speaking.", seed=seed))


def nixpkgs_lib() -> Path:
    """Where nixpkgs' lib is on this machine."""
    found = subprocess.run(
        ["nix-instantiate", "--eval", "--expr", "toString <nixpkgs/lib>"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        sys.exit("nixpkgs' lib was not found: set NIX_PATH=nixpkgs=...")
    return Path(json.loads(found.stdout))


@contextlib.contextmanager
def inside(root: Path) -> Iterator[None]:
    """What programs in the Debian need while it is not booted: /proc, devices, this machine's way to the network."""
    mounts = [(["--types=proc", "proc"], "proc"), (["--rbind", "/dev"], "dev")]
    for name in BORROWED:
        if Path(name).exists():
            (root / name.lstrip("/")).touch()
            mounts.append((["--bind", name], name.lstrip("/")))
    with contextlib.ExitStack() as stack:
        for options, target in mounts:
            run("mount", *options, str(root / target))
            stack.callback(run, "umount", "--recursive", "--lazy", str(root / target))
        yield


def kvm_works(root: Path) -> bool:
    """Whether KVM can boot the Debian's kernel: where there is a device, it may still not be able to."""
    if not os.access("/dev/kvm", os.W_OK):
        return False
    command = [*qemu("kvm", root), "-append", "console=ttyS0 panic=-1", "-no-reboot"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
        return b"Linux version" in done.stdout
    return False


def qemu(accelerator: str, root: Path) -> list[str]:
    """QEMU with the Debian's kernel, no network."""
    processor = {"kvm": ["-accel", "kvm", "-cpu", "host"], "tcg": ["-accel", "tcg,thread=multi", "-cpu", "max"]}
    return [
        "qemu-system-x86_64",
        *processor[accelerator],
        *("-smp", str(min(4, os.cpu_count() or 1)), "-m", "2048", "-nographic", "-nic", "none"),
        *("-kernel", str(next((root / "boot").glob("vmlinuz-*")))),
        *("-initrd", str(next((root / "boot").glob("initrd.img-*")))),
    ]


def boot_qemu(root: Path, accelerator: str, seconds: int) -> dict[str, bool] | None:
    """Boot the Debian as a virtual machine and wait until it has switched itself off."""
    image = CACHE / "disk.img"
    image.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(image), "4G")
    command = [
        *qemu(accelerator, root),
        *("-drive", f"file={image},if=virtio,format=raw", "-no-reboot"),
        *("-append", "root=/dev/vda rw console=ttyS0 panic=-1 quiet systemd.show_status=no"),
    ]
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=seconds, check=True)
    done = subprocess.run(
        ["debugfs", "-R", "cat /results.json", str(image)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout) if done.stdout else None


def chroot(root: Path, command: str) -> None:
    """Run a shell command in the Debian."""
    run("chroot", str(root), "/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "sh", "-euc", command)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, without what Python leaves behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
