# Everything a person does here, one word each. `make` alone explains the words.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEERS  := benchmarks/peers
# two workers: each may start servers of its own
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help env run up down doctor test check format lint types imports bench bench-peers oracles prove prove-full watch schema clean-var

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

env: $(STAMP) ## create .venv and install what constraints.txt pins (again only when that or pyproject.toml changed)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"expected Python 3.11 or newer, found {sys.version.split()[0]}; say make env PYTHON=python3.11")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/tradewind warmup
	@touch $@

run: env ## the whole pipeline on this machine [CANDLES='path/*.parquet']
	$(BIN)/tradewind run $(foreach file,$(or $(wildcard $(CANDLES)),$(CANDLES)),--candles $(file))

up: env ## start the local Prefect and MLflow servers
	$(BIN)/tradewind up

down: env ## stop them
	$(BIN)/tradewind down

doctor: ## say what is missing on this machine, and the command that mends it
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m flows.doctor

test: env ## all tests, with branch coverage and its floors: 85 % of all, 95 % where money can be lost
	$(BIN)/python -m pytest -n $(JOBS) --cov --cov-branch --cov-report=
	$(BIN)/coverage report --fail-under=85
	$(BIN)/coverage report --fail-under=95 --include='desk/session.py'
	$(BIN)/coverage report --fail-under=95 --include='desk/execution/*'
	$(BIN)/coverage report --fail-under=95 --include='desk/books/*'
	$(BIN)/coverage report --fail-under=95 --include='desk/risk/*'

check: env ## format, lint, types, import rules, side by side
	@$(MAKE) --no-print-directory -j 4 format lint types imports

format: env
	@$(BIN)/ruff format --check -q

lint: env
	@$(BIN)/ruff check -q

types: env
	@$(BIN)/mypy

imports: env
	@$(BIN)/lint-imports --no-logo

bench: env ## every benchmark, one JSON line each
	@failed=0; for file in benchmarks/[!_]*.py; do $(BIN)/python $$file || failed=1; done; exit $$failed

oracles: $(PEERS)/.venv/.installed ## the packages that tests compare with (vectorbt, arch, skfolio, ...), in an environment of their own; those tests are skipped without it

bench-peers: oracles $(PEERS)/.venv-nautilus/.installed $(PEERS)/.venv-freqtrade/.installed ## the other backtesters, in environments of their own; make bench measures against them

define peer_environment
	@test -x $(@D)/bin/pip || $(or $(PEER_PYTHON),$(PYTHON)) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	@touch $@
endef

$(PEERS)/.venv/.installed: $(PEERS)/requirements.txt
	$(peer_environment)

$(PEERS)/.venv-%/.installed: $(PEERS)/requirements-%.txt
	$(peer_environment)

# the newest nautilus_trader asks for Python 3.12; where there is none, its last for 3.11 is taken
$(PEERS)/.venv-nautilus/.installed: PEER_PYTHON = $(or $(NAUTILUS_PYTHON),$(shell for python in python3.13 python3.12; do $$python -c '' 2>/dev/null && echo $$python && break; done))

prove: env ## every proof at its declared size, one JSON line each
	$(BIN)/tradewind prove

prove-full: env ## every proof at full size; stop it and say it again, it goes on where it was
	$(BIN)/tradewind prove --full

watch: env ## run the tests again at every change, those that failed first
	$(BIN)/watchfiles --filter python '$(BIN)/python -m pytest -x -q --ff -m "not slow and not services"' flows tasks models desk data_contracts configs tests

schema: env ## write configs/schema.json after a change of the settings
	$(BIN)/python -m configs.settings

clean-var: ## erase var/, the one folder of state, after asking
	@printf 'Erase %s: lake, journal, models, runs? [y/N] ' "$$(pwd)/var"; read answer; [ "$$answer" = y ] && rm -rf var && echo erased || echo kept
