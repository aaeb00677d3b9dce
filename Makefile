# Each target makes its own virtual environment on a fresh machine, and needs nothing else than Python >= 3.11.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all lint format docs fuzz clean

demo: $(STAMP)  ## simulated study -> shards -> a trained model, with pictures, in demo/
	PATH="$(abspath $(BIN)):$$PATH" bash examples/demo.sh

test: $(STAMP)  ## everything but the long lists, under 10 minutes on 2 cores
	$(BIN)/python -m pytest -m "not long and not gpu" -n 2

test-all: $(STAMP)  ## the long lists, too
	$(BIN)/python -m pytest -m "not gpu" -n 2

fuzz: $(STAMP)  ## damaged and random files against the readers, for an hour or so
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/aamprep/read/test_fuzz.py -n 2

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
