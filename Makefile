# Each target makes a virtual environment if there is none. You only need Python >= 3.11.
PYTHON ?= python3
VENV ?= .venv
FUZZ_SECONDS ?= 3600
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all test-bounds lint format fuzz clean

demo: $(STAMP)  ## simulated study -> shards -> a trained model with its plots, in demo/
	PATH="$(abspath $(BIN)):$$PATH" bash examples/demo.sh

test: $(STAMP)  ## everything except the long lists: under 10 minutes on 2 cores
	$(BIN)/python -m pytest -m "not long and not gpu" -n 2

test-all: $(STAMP)  ## everything, with the long lists
	$(BIN)/python -m pytest -m "not gpu" -n 2

test-bounds:  ## every command with the oldest and the newest dependencies
	PYTHON=$(PYTHON) .ci/bounds

fuzz: $(STAMP)  ## damaged and random inputs of every kind, for FUZZ_SECONDS in all
	HYPOTHESIS_PROFILE=fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests -k "fuzz or mutat" -n 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)
