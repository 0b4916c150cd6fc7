# The two commands of README.md, and the ones of CONTRIBUTING.md. They need make and a Python (3.11 or later) with venv.
# Tests run in two processes; WORKERS says how many: make test WORKERS=8

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check

ADULT := examples/adult
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

.PHONY: help adult test test-slow lint bench clean

help:
	@echo "make adult      set up, then train on the Adult census data, with its test file as the measure"
	@echo "make test       set up, then run the checks: ruff, mypy, every test but the slow ones"
	@echo "make test-slow  the slow tests, and every property on a thousand random examples in place of twenty-five"
	@echo "make bench      the benchmarks: torchlogit beside its peers"
	@echo "make clean      remove the virtual environment and what the commands wrote"

adult: $(VENV)/.installed
	@mkdir -p out
	$(BIN)/torchlogit train $(ADULT)/adult-train.csv.gz --target income --valid $(ADULT)/adult-test.csv.gz -o out/adult.safetensors

test: lint
	$(PYTEST)

test-slow: $(VENV)/.developed
	$(PYTEST) -m "slow or hypothesis" --hypothesis-profile=thorough

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.benched
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) out .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "torchlogit needs Python 3.11 or later; name one: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	@touch $@

$(VENV)/.developed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.benched: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev,bench]'
	@touch $@ $(VENV)/.developed $(VENV)/.installed
