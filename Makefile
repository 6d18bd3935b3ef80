# `make demo` serves a generated service, `make test` proves the template. Both set up what they
# need; PYTHON names another interpreter than python3 (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
BUILD := build
# What the tests start beside Python: on Debian and Ubuntu `make test` installs it, as root.
PACKAGES := curl debian-archive-keyring iproute2 mmdebstrap nginx-light openssl systemd systemd-container

.PHONY: demo new test fuzz soak events faults lint format lock audit bench picture packages clean help

# What somebody has tried out there is kept: the directory is made once. uv comes with .venv.
demo: .venv/ready ## generate the default service under build/ and serve it
	@if [ -e $(BUILD)/my-service ]; then \
		echo "serving $(BUILD)/my-service as it is; \"rm -r $(BUILD)/my-service\" before makes it anew"; \
	else \
		$(BIN)/cookiecutter --no-input --default-config --output-dir $(BUILD) . >/dev/null; \
	fi
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec $(MAKE) --no-print-directory -C $(BUILD)/my-service run

new: .venv/ready ## answer questions and generate a service beside this directory, or in TO=directory
	@$(BIN)/python -m tools.new "$(or $(TO),..)"

test: .venv/ready packages ## all tests; with REQUIRE_ALL=1 none may be left out
	@$(BIN)/pytest -n auto --maxprocesses 4 --no-loadscope-reorder

fuzz: .venv/ready ## 100 000 hostile requests of a new seed
	@FUZZ=$${FUZZ:-100000} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} $(BIN)/pytest -s tests/test_fuzz.py

soak: .venv/ready ## 200 000 requests in one process, 32 threads, 1 000 workers
	@SOAK=$${SOAK:-200000} $(BIN)/pytest -s tests/test_endurance.py

events: .venv/ready packages ## what events do to requests: each three times, 5 000 requests each
	@EVENTS=$${EVENTS:-5000} $(BIN)/pytest -s -m event

faults: .venv/ready packages ## break each line of the deploy files in turn, or of FAULTS='*/deploy/nginx/*': hours
	@FAULTS="$${FAULTS:-*}" $(BIN)/pytest -s tests/test_faults.py

lint: .venv/ready ## check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: .venv/ready ## mend what of them can be mended
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: .venv/ready ## resolve the dependencies anew, for every combination of answers
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/lock.py

audit: .venv/ready ## look for known vulnerabilities of what is locked
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/audit.py

bench: .venv/ready ## the figures of the README
	@$(BIN)/python bench/figures.py
	@$(BIN)/python bench/cost.py

picture: .venv/ready ## draw the first run for the README
	@$(BIN)/python -m tools.picture

packages:
	@missing=$$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $(PACKAGES) 2>&1 \
		| sed -n 's/^dpkg-query: no packages found matching //p; s/^not-installed //p; s/^config-files //p'); \
	if command -v apt-get >/dev/null && [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
		echo "make test: installing the Debian packages" $$missing; \
		apt-get update -qq && \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

define NOT_SET_UP
ERROR: .venv was not set up, for the reason above; the same command tries it again.
Where it is the package index that is not reached: HTTPS_PROXY names a proxy,
PIP_INDEX_URL (for uv: UV_DEFAULT_INDEX) another index.
endef
export NOT_SET_UP

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ERROR: Python 3.11 or later is needed: make PYTHON=python3.13")'
	@echo "setting up .venv"
	@if command -v uv >/dev/null; then \
		uv venv --quiet --clear --seed --python $(PYTHON) .venv && \
		uv pip install --quiet --python .venv --require-hashes --only-binary :all: -r requirements.txt; \
	else \
		$(PYTHON) -m venv --clear .venv && \
		$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
			--only-binary :all: -r requirements.txt; \
	fi || { echo "$$NOT_SET_UP" >&2; exit 1; }
	@touch $@

clean: ## remove what these have made
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache

help: ## list these
	@awk -F ':.*## ' '/^[a-z ]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile
