# make demo: a photo in, masks out.   make test: everything that CI checks.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types unit train clean

demo: .venv/demo
	$(BIN)/maskrt demo --output out/demo

test: lint types unit

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

unit: .venv/dev
	$(BIN)/python -m pytest

# How export/weights/deepmask_small.pth was made (about 40 minutes on two cores).
train: .venv/demo
	$(BIN)/maskrt train deepmask_small --output runs/small --steps 7000 --bf16

clean:
	rm -rf .venv out

# One environment; each stamp says which extras are in it.
.venv/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/demo: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[export,rtx,viz]'
	touch $@

.venv/dev: .venv/demo
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
