# Bulkhead. `make help` lists the targets; a fresh Debian or Ubuntu machine needs only make,
# and root or sudo for the packages that are missing.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
LAB ?= quickstart

# Where `make test` gathers branch coverage; the other targets measure nothing. With LAB_COVERAGE=1
# the lab tier is measured too, which makes its nodes slower.
COVERAGE := build/coverage
MEASURED = $(if $(COVERAGE_DIR),--cov --cov-report= --cov-fail-under=0)
GATE_FUZZ_SECONDS ?= 120

.PHONY: help setup packages lab test unit property lab-tests check lint words coverage bench fuzz \
	proto clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

setup: packages .venv/.installed ## install what is missing: packages, virtual environment

packages:
	@labs/setup/packages.sh base

# Only a changed pyproject.toml installs again.
.venv/.installed: pyproject.toml | packages
	@PYTHON=$(PYTHON) labs/setup/venv.sh

lab: setup ## bring up the lab LAB (quickstart), run its checks, take it down
	@$(BIN)/pe lab test $(LAB)

test: setup ## everything: lint, types, tests on the host and on the lab kernel, coverage
	@rm -rf $(COVERAGE)
	@$(MAKE) --no-print-directory check COVERAGE_DIR=$(CURDIR)/$(COVERAGE)
	@$(MAKE) --no-print-directory lab-tests \
		$(if $(LAB_COVERAGE),COVERAGE_DIR=$(CURDIR)/$(COVERAGE))
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=$(GATE_FUZZ_SECONDS)
	@$(MAKE) --no-print-directory coverage

check: setup ## ruff, mypy, layers, words, and the tests that need no lab kernel
	@$(MAKE) --no-print-directory lint unit property

lint: setup ## ruff, mypy, the layers between packages, the word list
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.words

words: setup ## check prose and names against the word list (tests/words.toml)
	$(BIN)/python -m tests.words

unit: setup ## unit and golden tests, under 30 seconds
	@mkdir -p $(COVERAGE)
	COVERAGE_FILE=$(COVERAGE)/.coverage.unit \
		$(BIN)/pytest -q -n 2 $(MEASURED) tests/unit tests/golden

property: setup ## property tests, scale counts and faults that need no lab kernel, bounded
	@mkdir -p $(COVERAGE)
	COVERAGE_FILE=$(COVERAGE)/.coverage.property \
		$(BIN)/pytest -q -n 2 -m "not lab" $(MEASURED) \
		$(wildcard tests/property tests/scale tests/faults)

lab-tests: setup ## the tests on the lab kernel (TESTS=tests/lab/test_x.py for some)
	@$(BIN)/pe lab ready  # here, where the progress of a build is seen
	@$(if $(TESTS),,$(BIN)/pytest -q tests/guest)
	@$(if $(COVERAGE_DIR),COVERAGE_DIR=$(COVERAGE_DIR)) $(BIN)/python -m labs.testing $(TESTS)

coverage: setup ## print the branch coverage that `make test` gathered; fails below its floor
	@$(BIN)/coverage combine --quiet --keep --data-file=$(COVERAGE)/all $(COVERAGE)/.coverage.*
	@$(BIN)/coverage report --data-file=$(COVERAGE)/all

bench: setup ## measure, beside FRR, and write perf/report.md (ONLY="fleet rebuild": perf/partial)
	@$(BIN)/python -m perf $(if $(ONLY),--only $(ONLY))

fuzz: setup ## property tests with ever new inputs, seed printed, for FUZZ_SECONDS (600)
	@$(BIN)/python -m tests.fuzz $(or $(FUZZ_SECONDS),600)

proto: setup ## generate the gRPC stubs from proto/
	@$(BIN)/python proto/generate.py

clean: ## remove the virtual environment (the lab kernel stays cached)
	rm -rf .venv
