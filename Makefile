# Ribline: the two commands are `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
# uv does not read pip's find-links; without them it may replace a CPU build of torch.
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
PACKAGES := flows etl nlp_labeling training evaluation warehouse_schema
CODE := $(PACKAGES) tests benchmarks docs

.PHONY: help install demo test soak check lock docs bench system-packages clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

install: .venv/.installed ## .venv with the locked dependencies and the project, editable

.venv/.installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "python3.11 is needed (or make PYTHON=/path/to/python3.11)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.lock)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: install ## synthetic hospital to AUROC/FROC report, about 15 minutes on 2 cores
	$(BIN)/ribline demo

system-packages: ## Debian packages that the tests use
	bash .ci/system-packages

test: install system-packages ## every test (the long forms: make soak)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not soak" $(PYTEST_ARGS)

soak: install system-packages ## the long forms of the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

check: install ## ruff, mypy strict, import-linter, the lock file is current
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	bash .ci/lock check

lock: install ## resolve the dependencies again
	bash .ci/lock write

docs: install ## write the generated pages of docs/ again
	$(BIN)/python docs/generate.py

bench: install ## every benchmark, one JSON object each
	@for file in benchmarks/*_speed.py benchmarks/relabel_increment.py; do echo "$$file"; $(BIN)/python $$file --json || exit 1; done

clean: ## remove what the targets above made
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
