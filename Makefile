# Needs Python 3.11 or newer and make; everything else is installed into .venv.
# The first run of a target takes a few minutes (PyTorch is large); later runs start at once.
PYTHON    ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
VENV      ?= .venv
HTTP_PORT ?= $(or $(ADAPTSEG_HTTP_PORT),3000)
GRPC_PORT ?= $(or $(ADAPTSEG_GRPC_PORT),3001)
HOST      ?=
HTTP_HOST := $(or $(HOST),$(ADAPTSEG_HTTP_HOST),127.0.0.1)
GRPC_HOST := $(or $(HOST),$(ADAPTSEG_GRPC_HOST),127.0.0.1)
BUNDLE    ?=
ARGS      ?=
JOBS      ?= 2

BIN    := $(VENV)/bin
# One environment, two depths: what serving needs, and what training and the tests need on top.
SERVE_STAMP := $(VENV)/.installed-serve
DEV_STAMP   := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help env serve test lint types format protos bento clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$$(command -v $(PYTHON))" || { echo "make: no Python found. Install Python 3.11 or newer, or name yours: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@existed=$$(test -e $(VENV) && echo yes); $(PYTHON) -m venv $(VENV) || { test "$$existed" || rm -rf $(VENV); exit 1; }

$(SERVE_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(DEV_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(SERVE_STAMP)

env: $(DEV_STAMP) ## Build .venv with everything for training, export, serving and tests

serve: $(SERVE_STAMP) ## Serve a bundle: HTTP_PORT=3000 GRPC_PORT=3001 BUNDLE=path (default: the packaged model)
	@$(if $(BUNDLE),ADAPTSEG_BUNDLE=$(abspath $(BUNDLE))) ADAPTSEG_HTTP_HOST=$(HTTP_HOST) ADAPTSEG_HTTP_PORT=$(HTTP_PORT) \
		ADAPTSEG_GRPC_HOST=$(GRPC_HOST) ADAPTSEG_GRPC_PORT=$(GRPC_PORT) exec $(BIN)/python -m adaptseg_serve.cli.serve

test: $(DEV_STAMP) ## Run all tests, files of them in JOBS=2 processes (0: in pytest's own): ARGS="-k png -x" is handed to pytest
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(DEV_STAMP) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP) ## Check types (mypy --strict)
	$(BIN)/mypy

format: $(DEV_STAMP) ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: $(DEV_STAMP) ## Regenerate the gRPC stubs from the .proto files
	$(BIN)/python -m adaptseg_serve.grpc.protos.generate

bento: $(SERVE_STAMP) ## Build a Bento, ready for bentoml serve, containerize or deploy
	BENTOML_DO_NOT_TRACK=True $(BIN)/bentoml build

clean: ## Remove the environment, caches and build results (never runs/ or bundles/)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
