# make demo: a photo in, masks out.   make test: everything that CI checks.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types unit parity lean registries train clean

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

# Against torchvision, in an environment of its own (some 5 GB, a minute or two).
parity: .venv-parity/ready
	.venv-parity/bin/python -m pytest tests/parity

.venv-parity/ready: .venv-parity/packages
	.venv-parity/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv-parity/packages: tests/parity/requirements.txt
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet --requirement tests/parity/requirements.txt
	touch $@

# The names and the start of TensorRT's lean runtimes, 10.16 and 11.4: they need no GPU for that.
lean: .venv-lean/ready .venv/dev
	$(BIN)/python -m pytest tests/test_tensorrt_api.py

# The compiled plugins in TensorRT's own registries (needs its headers: set TENSORRT_ROOT).
registries: .venv-lean/ready .venv/dev
	$(BIN)/python -m pytest tests/plugins/test_glue.py tests/plugins/test_library.py

.venv-lean/ready:
	$(PYTHON) -m pip install --quiet --target .venv-lean/10 \
	  tensorrt-lean-cu12-bindings==10.16.1.11 tensorrt-lean-cu12-libs==10.16.1.11
	$(PYTHON) -m pip install --quiet --target .venv-lean/11 \
	  tensorrt-lean-cu13-bindings==11.4.0.106 tensorrt-lean-cu13-libs==11.4.0.106
	touch $@

# How export/weights/deepmask_small.pth was made (about 40 minutes on two cores).
train: .venv/demo
	$(BIN)/maskrt train deepmask_small --output runs/small --steps 7000 --bf16

clean:
	rm -rf .venv .venv-parity .venv-lean out

# One environment; each stamp says which extras are in it.
.venv/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/demo: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[export,rtx,viz,bench]'
	touch $@

.venv/dev: .venv/demo
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
