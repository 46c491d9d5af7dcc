# Everything below makes .venv on first use; python3 and cc are all it asks of the machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEERS  := $(VENV)/.peers

.DEFAULT_GOAL := help
PHASES ?= 100

.PHONY: help demo test check safety mutants coverage bench clean

help:
	@echo "make demo   an emulated PSM moves under the 1 kHz daemon; writes demo.png and demo.mcap"
	@echo "make test   the whole test-suite"
	@echo "make check  ruff, mypy --strict, import-linter"
	@echo "make safety    every scenario at 100 random phases; renews the figures of docs/hazards.md"
	@echo "make mutants   small mistakes in guard and states, one by one: the tests must notice each"
	@echo "make coverage  branches of guard and states, as plain Python: all of them must be taken"
	@echo "make bench  this project beside its peers, as a table"
	@echo "make clean  remove .venv and what was built"

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "trocar: '$(PYTHON)' is not on the PATH: install Python 3.11 or newer, or name it with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "trocar: $$($(PYTHON) --version) is too old: Python 3.11 or newer is needed (make PYTHON=python3.12 ...)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "trocar: this Python cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	@command -v cc >/dev/null || { echo "trocar: no C compiler 'cc' on the PATH: the emulated arm runs real firmware and builds it once (Debian: apt-get install gcc libc6-dev)"; exit 1; }
	@echo "trocar: making $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(PEERS): $(STAMP)
	@echo "trocar: installing the peers to measure against (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@

demo: $(STAMP)
	$(BIN)/trocar demo

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

safety: $(STAMP)
	-$(BIN)/trocar hil run --phases $(PHASES) --json > safety.json
	$(BIN)/python -m hil.hazard_log record safety.json
	$(BIN)/python -m hil.hazard_log

mutants: $(STAMP)
	$(BIN)/python -m tests.mutation

coverage: $(STAMP)
	$(BIN)/python -m tests.mutation.coverage

bench: $(PEERS)
	$(BIN)/trocar bench

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo.png demo.mcap
	find . -name __pycache__ -prune -exec rm -rf {} +
