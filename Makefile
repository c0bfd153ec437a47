# Bulkhead. `make help` lists the targets; a fresh Debian or Ubuntu machine needs only make,
# and root or sudo for the packages that are missing.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
LAB ?= quickstart

.PHONY: help setup packages lab test unit property lab-tests check bench fuzz proto clean

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

test: setup check lab-tests ## everything: lint, types, tests on the host and on the lab kernel

check: setup ## ruff, mypy, and the tests that need no lab kernel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory unit property

unit: setup ## unit and golden tests, under 30 seconds
	$(BIN)/pytest -q -n 2 tests/unit tests/golden

property: setup ## property tests, scale tests and fuzzing, bounded
	$(BIN)/pytest -q -n 2 tests/property tests/scale

lab-tests: setup ## the tests on the lab kernel (TESTS=tests/lab/test_x.py for some)
	@$(BIN)/pe lab ready  # here, where the progress of a build is seen
	@$(if $(TESTS),,$(BIN)/pytest -q tests/guest)
	@$(BIN)/python -m labs.testing $(TESTS)

bench: setup ## measure, beside FRR, and write perf/report.md (ONLY="fleet rebuild": perf/partial)
	@$(BIN)/python -m perf $(if $(ONLY),--only $(ONLY))

fuzz: setup ## property tests with ever new inputs for FUZZ_SECONDS (600)
	@$(BIN)/python -m tests.fuzz $(or $(FUZZ_SECONDS),600)

proto: setup ## generate the gRPC stubs from proto/
	@$(BIN)/python proto/generate.py

clean: ## remove the virtual environment (the lab kernel stays cached)
	rm -rf .venv
