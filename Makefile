# Everything a newcomer types. Python ≥ 3.11, make and a package registry are all it needs.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export DAGSTER_HOME := $(CURDIR)
export PYTHONWARNINGS := ignore
# Tests run in as many processes as there are CPUs, four at most: each of them loads torch.
PARALLEL := -n logical --maxprocesses 4

.PHONY: help setup demo ui test test-slow check bench clean

help:
	@echo "make demo       set up, run the demo pipeline to its end, print scores"
	@echo "make ui         Dagster's UI on the same instance"
	@echo "make test       set up, run the tests       make test-slow: kills, browser, daemon, five seeds"
	@echo "make check      lint, types, import rules   make bench: benchmarks"

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the pinned packages into .venv (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[training,ui,dev]' --constraint constraints.txt
	@touch $@

demo: setup
	@$(BIN)/vqa-pipeline run --pipeline demo

ui: setup
	@$(BIN)/dagster dev --workspace workspace.yaml

test: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(PARALLEL) --dist worksteal

test-slow: setup
	@$(BIN)/python -m pytest -q -m slow $(PARALLEL) --dist loadgroup --durations 20

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/dg check defs

bench: setup
	@for name in curation reading inspecting references joining digest near_duplicates image_checks unchanged keeping_up against_datasets against_datasets_with_images training; do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf .venv .dagster data
