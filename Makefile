# `make demo` serves a generated service, `make test` tests the template. Both set up .venv first;
# PYTHON selects another interpreter than python3 (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
BUILD := build
# The folders of `make test` need Python, git and make, no root and no network. The other folders take longer;
# most need root and these Debian packages, which `make test-all` installs on Debian and Ubuntu.
QUICK := tests/template tests/package tests/project
# Long tests come first, and the many short ones of how_to last, so that no core is idle at the end.
OTHERS := tests/debian tests/workflows tests/api_contract tests/owner tests/mutation tests/installation \
	tests/endurance tests/fuzz tests/nginx tests/postgresql tests/how_to
# The quick tests wait for servers half of the time, so three of them run at once even on two cores.
PYTEST := pytest --no-loadscope-reorder
PACKAGES := curl debian-archive-keyring iproute2 mmdebstrap nginx-light openssl \
	pgbouncer podman postgresql redis-server systemd systemd-container

# pip reads these variables, too: with them it would install somewhere else than in .venv.
unexport PIP_DRY_RUN PIP_PREFIX PIP_PYTHON PIP_ROOT PIP_TARGET
export PIP_USER := 0
# If PYTHON is set to another Python than that of .venv, .venv is set up again.
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -VV 2>&1),$(shell test -x $(BIN)/python && $(BIN)/python -VV 2>&1))
.PHONY: .venv/ready
endif
endif

.PHONY: demo new test test-all fuzz soak availability mutants lint format lock audit bench screenshot packages clean help

# An existing project is kept, with the changes that somebody tried out there. .venv contains uv.
demo: .venv/ready ## generate the default service under build/ and serve it
	@if [ -e $(BUILD)/my-service ]; then \
		echo "serving $(BUILD)/my-service as it is; \"rm -r $(BUILD)/my-service\" generates it again"; \
	else \
		$(BIN)/cookiecutter --no-input --default-config --output-dir $(BUILD) . >/dev/null; \
	fi
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec $(MAKE) --no-print-directory -C $(BUILD)/my-service run

new: .venv/ready ## answer questions and generate a service next to this directory, or in TO=directory
	@$(BIN)/python -m tools.new "$(or $(TO),..)"

test: .venv/ready ## test generation, projects and their package: any user, minutes; REQUIRE_ALL=1 fails skipped tests
	@$(BIN)/$(PYTEST) -n 3 $(QUICK)
	@$(if $(filter test-all,$(MAKECMDGOALS)),:,echo "not run: $(OTHERS); make test-all runs them, too")

test-all: test packages ## all tests: `make test`, then Nginx, booted Debian machines and the rest; root, half an hour
	@$(BIN)/$(PYTEST) -n 4 $(OTHERS)

fuzz: .venv/ready ## send 100 000 hostile requests from a new seed
	@FUZZ=$${FUZZ:-100000} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} $(BIN)/pytest -s tests/fuzz

soak: .venv/ready ## send 200 000 requests to one process, and from 32 threads; replace 1 000 workers; write for 30 s
	@SOAK=$${SOAK:-200000} $(BIN)/pytest -s tests/endurance

availability: .venv/ready packages ## measure failed requests during events: each three times, 5 000 requests each
	@AVAILABILITY=$${AVAILABILITY:-5000} $(BIN)/pytest -s -m availability tests/debian

mutants: .venv/ready packages ## try each mutant of the deploy files, or of MUTANTS='*/deploy/nginx/*': hours
	@MUTANTS="$${MUTANTS:-*}" $(BIN)/pytest -s tests/mutation/test_mutants.py

# The generated project's files without Jinja, by the rules of its own pyproject.toml. A cache would be
# in the template's tree, so ruff keeps none.
PLAIN := '{{cookiecutter.project_slug}}/src/bottle_service' '{{cookiecutter.project_slug}}/gunicorn.conf.py'

lint: .venv/ready ## check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff check --quiet --no-cache $(PLAIN)
	@$(BIN)/ruff format --check
	@$(BIN)/ruff format --quiet --no-cache --check $(PLAIN)
	@$(BIN)/mypy

format: .venv/ready ## fix style problems automatically
	@status=0; \
	$(BIN)/ruff check --fix || status=1; \
	$(BIN)/ruff check --quiet --no-cache --fix $(PLAIN) || status=1; \
	$(BIN)/ruff format && $(BIN)/ruff format --quiet --no-cache $(PLAIN) && exit $$status

lock: .venv/ready ## resolve the dependencies again, for every combination of answers
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/lock.py

audit: .venv/ready ## look for known vulnerabilities of the locked packages
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/audit.py

bench: .venv/ready ## measure the figures of the README
	@$(BIN)/python bench/figures.py
	@$(BIN)/python bench/cost.py
	@$(BIN)/python bench/notes.py
	@$(BIN)/python bench/pages.py
	@$(BIN)/python bench/served.py

screenshot: .venv/ready ## draw the first run for the README
	@$(BIN)/python -m tools.screenshot

packages:
	@missing=$$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $(PACKAGES) 2>&1 \
		| sed -n 's/^dpkg-query: no packages found matching //p; s/^not-installed //p; s/^config-files //p'); \
	if command -v apt-get >/dev/null && [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
		echo "make test-all: installing the Debian packages" $$missing; \
		apt-get update -qq && \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

define NOT_SET_UP
ERROR: .venv was not set up, for the reason above; the same command tries it again.
If the package index cannot be reached: HTTPS_PROXY names a proxy,
PIP_INDEX_URL (for uv: UV_DEFAULT_INDEX) another index.
endef
export NOT_SET_UP

# uv would pass over the Python of an active virtual environment, unless it gets its path.
.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ERROR: Python 3.11 or later is needed: make PYTHON=python3.13")'
	@echo "setting up .venv"
	@case "$$(command -v uv)" in "" | "$(CURDIR)/$(BIN)/uv" | $(BIN)/uv) false ;; esac && uv=yes || uv=no; \
	if [ $$uv = yes ]; then \
		uv venv --quiet --clear --seed --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv && \
		uv pip install --quiet --python .venv --require-hashes --only-binary :all: -r requirements.txt; \
	else \
		$(PYTHON) -m venv --clear .venv && \
		$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
			--only-binary :all: -r requirements.txt; \
	fi || { echo "$$NOT_SET_UP" >&2; exit 1; }
	@touch $@

clean: ## remove .venv, build and caches
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile
