# Two commands matter: `make run` and `make test`. Both build the virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto
ONLY ?= supervise metrics webhooks

.PHONY: run test test-postgresql check check-js format-js bench clean

$(VENV)/.run: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

run: $(VENV)/.run
	$(BIN)/python manage.py serve $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# The tests of queries and rows once more, on a PostgreSQL that is started for them.
test-postgresql: $(VENV)/.dev
	$(BIN)/python -m core.tests.on_postgresql -n $(WORKERS) --dist worksteal $(ARGS)

check: $(VENV)/.dev check-js
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --deploy --fail-level WARNING

# Tools for the front end alone; static/ is served as it is written.
node_modules/.installed: package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

check-js: node_modules/.installed
	npm run --silent check

format-js: node_modules/.installed
	npm run --silent format

# One after the other: they would measure each other. ONLY=metrics for one, ARGS for its options.
bench: $(VENV)/.dev
	for name in $(ONLY); do $(BIN)/python -m bench.$$name $(ARGS) || exit 1; done

clean:
	rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .pytest_cache
