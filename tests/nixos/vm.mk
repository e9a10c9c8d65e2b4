# `make test-vm`: the scenarios of the NixOS VM tests on a real systemd, without NixOS. See tests/nixos/README.md.
.PHONY: test-vm
test-vm: .venv/.installed-dev
	.venv/bin/python tests/nixos/debian/run.py $(VM)
