# `make help` lists the targets. Each of them sets up .venv once, from the exact pins in requirements.lock.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && command -v $$p && break; done; true)
VENV := .venv
READY := $(VENV)/.ready
DOCS := .venv-docs
PROFILE ?=

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
# Containers like to set it; the environment is installed without bytecode, which the first imports write.
unexport PYTHONDONTWRITEBYTECODE

PYTEST := OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: help setup demo explore reproduce test test-slow test-all lint format docs ui track bench bench-gpu clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with the venv module was found; install one (on Debian:" \
		"apt-get install python3 python3-venv) or name it: make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile \
		--requirement requirements.lock
	@# brings the libraries of CUDA where torch's build needs them; everything else is there
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable .
	@# so that a run that may not write bytecode finds it, too
	@$(VENV)/bin/python -c 'import stages.track, lm_eval.evaluator; from transformers import AutoModelForCausalLM'
	@git rev-parse --git-dir >/dev/null 2>&1 || $(VENV)/bin/dvc config --local core.no_scm true
	@touch $@

setup: $(READY) ## set up .venv (every other target does so too)

explore: $(READY) ## open the playground: prompts under several settings side by side
	python -m stages.explore

reproduce: $(READY) ## run the pipeline with params.yaml, or with a profile: make reproduce PROFILE=smoke
	python -m stages.reproduce $(if $(PROFILE),--profile $(PROFILE))

demo: $(READY) ## see what contrast changes in a text, within a minute and before any run
	python -m stages.demo

test: $(READY) ## run the fast tests
	$(PYTEST) -m "not slow and not hub"

test-slow: $(READY) ## run the slow tests: complete pipelines, servers, browser, LaTeX
	$(PYTEST) -m "slow and not exhaustive and not hub"

test-all: $(READY) ## run all tests, the exhaustive ones too: more examples, every variant
	$(PYTEST) -m "not hub"

lint: $(READY) ## check style, formatting, and the types of the library
	ruff check . && ruff format --check . && mypy

format: $(READY) ## correct style and formatting
	ruff check --fix . && ruff format .

$(DOCS)/.ready: requirements-docs.lock
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements-docs.lock
	@touch $@

docs: $(DOCS)/.ready ## build the documentation site and check its links
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet
	@echo "open site/index.html"

ui: $(READY) ## open the tracked runs in MLflow, on http://127.0.0.1:5000 or on the server of MLFLOW_TRACKING_URI
	python -m stages.ui

track: $(READY) ## publish every finished cell to MLFLOW_TRACKING_URI, or to mlflow.db
	python -m stages.track --republish

bench: $(READY) ## measure decoding, scoring and training relative to plain transformers
	for script in benchmarks/*.py; do name=$${script##*/}; python -m "benchmarks.$${name%.py}"; done

bench-gpu: $(READY) ## measure everything on one GPU within 25 minutes, without a network, into reports/gpu
	HF_HUB_OFFLINE=1 python -m benchmarks.gpu

clean: ## remove outputs and resume state, but keep reports, DVC's cache and .venv
	rm -rf runs .scratch .pytest_cache .ruff_cache .mypy_cache .hypothesis build src/*.egg-info
