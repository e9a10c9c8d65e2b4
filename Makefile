# make demo | test | test-fast | test-vm | lint | format | docs | conformance | bench | simulation | fuzz | clean
#
# Needs python3 (3.11 or later) with venv, and make; everything else goes into .venv.
# Another interpreter: make PYTHON=python3.13 test

PYTHON ?= python3
LISTEN ?= 127.0.0.1:9292
BIN := .venv/bin
RUFF_PATHS := python/src tests bench

# Test files share no state, but the tests of one file may share a running service. They wait about as much as they
# compute, so three processes keep two cores busy. In the order of the folders the long ones come first (the default,
# files with many tests first, leaves the minute of fuzzing and the random worlds to the end).
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n 3 --dist loadscope --no-loadscope-reorder

.PHONY: demo test test-fast lint format docs conformance bench simulation fuzz clean

demo: .venv/.installed-demo
	@exec $(BIN)/python -m llama_swap.demo --listen $(LISTEN)

test: .venv/.installed-dev .venv/agent-cli/.installed
	$(PYTEST) $(PARALLEL) tests

test-fast: .venv/.installed-dev
	$(PYTEST) $(PARALLEL) -m "not slow" tests/unit tests/documents tests/scheduler

lint: .venv/.installed-dev
	$(BIN)/ruff check --config python/pyproject.toml $(RUFF_PATHS)
	$(BIN)/ruff format --check --config python/pyproject.toml $(RUFF_PATHS)
	cd python && ../$(BIN)/mypy

format: .venv/.installed-dev
	$(BIN)/ruff check --fix --config python/pyproject.toml $(RUFF_PATHS)
	$(BIN)/ruff format --config python/pyproject.toml $(RUFF_PATHS)

# The tables of keys in the documentation, from the schema; a test compares them.
docs: .venv/.installed-dev
	$(BIN)/python -m llama_swap.config.reference docs/configuration.md

# Black-box checks of a llama-swap compatible server, kept outside this repository: make conformance SUITE=FOLDER
conformance: .venv/.installed-dev
	@test -n "$(SUITE)" || { echo "make conformance SUITE=FOLDER"; exit 2; }
	root=$$PWD; cd "$(SUITE)" && PYTHONDONTWRITEBYTECODE=1 "$$root/$(BIN)/python" -m pytest -p no:cacheprovider -n 2 \
	  --binary="$$root/$(BIN)/llama-swap" .

include tests/nixos/vm.mk

# The data plane beside other proxies: make bench BENCH='--help'
bench: .venv/.installed-dev
	$(BIN)/python -m bench.proxy $(BENCH)

# The scheduler on days in virtual time, beside others: some minutes, and the same figures on every machine.
simulation: .venv/.installed-dev
	$(BIN)/python bench/simulation.py > bench/simulation.txt

# Coverage-guided fuzzing of what faces the network: make fuzz SECONDS=3600. What it learns stays in .venv/fuzz; an input
# that shows a defect is printed, left there, and belongs into tests/fuzz/corpus.
fuzz: SECONDS := 600
fuzz: .venv/.installed-dev
	@mkdir -p .venv/fuzz/learnt
	$(BIN)/python tests/fuzz/target.py -max_total_time=$(SECONDS) -timeout=20 -max_len=2048 \
	  -artifact_prefix=.venv/fuzz/ .venv/fuzz/learnt tests/fuzz/corpus

clean:
	rm -rf .venv python/dist
	find . -name .git -prune -o -type d \
	  \( -name __pycache__ -o -name .pytest_cache -o -name .mypy_cache -o -name .ruff_cache -o -name .hypothesis \) \
	  -prune -exec rm -rf {} +

# The stamps make a changed pyproject.toml install again; another version of Python starts afresh.
.venv/.installed-demo: EXTRAS := demo
.venv/.installed-dev: EXTRAS := demo,speed,test,fuzz,lint,clients
.venv/.installed-demo .venv/.installed-dev: python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed: make PYTHON=python3.13 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@test "$$($(BIN)/python -V 2>/dev/null)" = "$$($(PYTHON) -V)" || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable 'python[$(EXTRAS)]'
	@touch $@

# A client that is tested needs another pydantic-ai than the others, so it is installed beside them.
.venv/agent-cli/.installed: Makefile | .venv/.installed-dev
	@$(BIN)/python -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check 'agent-cli>=0.112' 'pydantic-ai-slim[openai]>=1.104,<2'
	@touch $@
