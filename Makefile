# Two commands for a newcomer: `make demo` and `make test`. Each makes ./.venv when it is missing.
PYTHON ?= python3
DATA ?= digits
BIN := .venv/bin
# uv is used where it is installed because it is faster; nothing needs it.
UV := $(shell command -v uv 2>/dev/null)
ifdef UV
INSTALL := uv pip install --quiet --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

.PHONY: demo demo-detect demo-segment test check format mutants torture tables clean

demo: .venv/.package
	$(BIN)/convnext demo "$(DATA)"

# Made scenes; DATA=folder takes a COCO or VOC folder, or one of pictures and label maps.
demo-detect: .venv/.detect
	$(BIN)/convnext demo --task detect $(if $(filter-out digits,$(DATA)),"$(DATA)")

demo-segment: .venv/.detect
	$(BIN)/convnext demo --task segment $(if $(filter-out digits,$(DATA)),"$(DATA)")

test: check
	$(BIN)/python -m pytest -n 2

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python benchmarks/tables.py --check

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

mutants: .venv/.dev
	$(BIN)/python -m pytest tests/mutants

torture: .venv/.dev
	$(BIN)/python benchmarks/torture.py

tables: .venv/.dev
	$(BIN)/python benchmarks/tables.py

.venv/bin/python:
	@echo "making .venv (the first time takes a few minutes: PyTorch is large)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "convnext needs Python 3.11 or newer, $(PYTHON) is older; set PYTHON=python3.12, say" >&2; exit 2; }
	$(if $(UV),uv venv --quiet --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)

.venv/.package: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -c constraints.txt -e .
	@touch $@

.venv/.detect: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -c constraints.txt -e '.[detect]'
	@touch .venv/.package $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -c constraints.txt -e '.[dev]'
	@touch .venv/.package .venv/.detect $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
