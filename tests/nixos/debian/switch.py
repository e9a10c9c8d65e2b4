"""Switch a Debian to an evaluated machine, by the rules of NixOS' switch-to-configuration as far as our units need it.

A unit whose text differs only in ``X-Reload-Triggers`` is reloaded, one that differs otherwise is restarted, a new one
is started if the system wants it, one that is gone is stopped. What only other units want is left to them.
"""

import re
import subprocess
import sys
from pathlib import Path

CURRENT = Path("/run/current-system")
UNITS = Path("/etc/systemd/system")
TRIGGERS = re.compile(r"^X-Reload-Triggers=.*\n", flags=re.MULTILINE)
WANTED = re.compile(r"^WantedBy=.*\b(multi-user|sockets)[.]target", flags=re.MULTILINE)
FIREWALL = """
table inet scenario
delete table inet scenario
table inet scenario {{
  chain input {{
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    {rule}
  }}
}}
"""


def main() -> None:
    """Switch to the machine in the folder that is the first argument; ``none`` is no machine at all."""
    new = None if sys.argv[1] == "none" else Path(sys.argv[1]).resolve()
    old = CURRENT.resolve() if CURRENT.exists() else None
    before, after = units(old), units(new)
    for gone in before.keys() - after.keys():
        systemctl("stop", gone)
        systemctl("disable", gone)
    for changed in (name for name in before if name in after and stops_first(before[name], after[name])):
        systemctl("stop", changed)
    # A service lets go of its port before its socket takes it.
    for socket in (name for name in after.keys() - before.keys() if name.endswith(".socket")):
        systemctl("stop", f"{socket.removesuffix('.socket')}.service")
    install(old, new)
    systemctl("daemon-reload")
    failed = [name for name in sorted(after, key=order) if not bring_up(name, before.get(name), after[name])]
    if failed:
        sys.exit(f"could not bring up {', '.join(failed)}")


def units(system: Path | None) -> dict[str, str]:
    """Texts of a machine's units by name."""
    return {file.name: file.read_text() for file in (system / "units").iterdir()} if system else {}


def order(unit: str) -> bool:
    """Sockets before the services they start."""
    return not unit.endswith(".socket")


def install(old: Path | None, new: Path | None) -> None:
    """Replace the links in /etc, the firewall and what the current machine is."""
    for system in filter(None, (old, new)):
        for file in [*(system / "etc").rglob("*"), *(system / "units").iterdir()]:
            target = UNITS / file.name if file.parent.name == "units" else Path("/") / file.relative_to(system)
            if file.is_symlink():
                target.unlink(missing_ok=True)
    CURRENT.unlink(missing_ok=True)
    if new is None:
        return
    for file in filter(Path.is_symlink, (new / "etc").rglob("*")):
        target = Path("/") / file.relative_to(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file.resolve())
    for file in (new / "units").iterdir():
        # A copy: systemd wants to read units before the store is mounted, and so does `systemctl enable`.
        (UNITS / file.name).write_text(file.read_text())
    CURRENT.symlink_to(new)
    ports = ", ".join((new / "ports").read_text().split())
    rule = f"tcp dport {{ {ports} }} accept" if ports else ""
    subprocess.run(["nft", "--file", "-"], input=FIREWALL.format(rule=rule), text=True, check=True)


def stops_first(before: str, after: str) -> bool:
    """Whether a changed unit is stopped before the switch, as it is unless it says ``stopIfChanged = false``."""
    return action(before, after) == "restart" and "X-StopIfChanged=false" not in after


def action(before: str | None, after: str) -> str:
    """What a unit needs whose text changes like this."""
    if before == after:
        return "start"
    if before is not None and TRIGGERS.sub("", before) == TRIGGERS.sub("", after):
        return "reload-or-restart"
    return "restart"


def bring_up(unit: str, before: str | None, after: str) -> bool:
    """Make the running unit what its text says; whether that worked."""
    if "[Install]" in after:
        systemctl("enable", unit)
    if not WANTED.search(after):
        return True
    return systemctl(action(before, after), unit)


def systemctl(*words: str) -> bool:
    """Whether a command of systemctl succeeded."""
    return subprocess.run(["systemctl", "--quiet", *words], check=False).returncode == 0


if __name__ == "__main__":
    main()
