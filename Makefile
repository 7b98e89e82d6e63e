# make demo     the main job on embedded PostgreSQL and Valkey (ARGS=--once checks itself and ends)
# make test     the whole test suite, on real servers
# make check    style, types, import directions, known vulnerabilities
# make test-faults  nothing is lost, at length: things break for an hour (ARGS="-k flush" for some)
# make bench    Angarium beside stock Celery (ARGS="--rounds 1 --scale 0.1 courier" for part of it)
# make profile  where the courier's time goes
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: demo test test-faults bench profile check audit format lock clean

demo: .venv/installed
	$(BIN)/python -m config.demo $(ARGS)

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-faults: .venv/installed
	$(BIN)/python -m pytest tests/faults --long $(ARGS)

bench: .venv/installed
	$(BIN)/python -m tests.bench $(ARGS)

profile: .venv/installed
	$(BIN)/python -m tests.bench --profile $(ARGS)

check: export DEBUG = 1
check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	@$(MAKE) --no-print-directory audit

# Known vulnerabilities of what is installed, where the service that knows them can be reached.
audit: .venv/installed
	@if $(BIN)/pip-audit --skip-editable --progress-spinner off > .venv/audit 2>&1; then \
		head -1 .venv/audit; \
	elif grep -q "^Found " .venv/audit; then \
		cat .venv/audit; exit 1; \
	else \
		echo "Not audited: $$(tail -1 .venv/audit)"; \
	fi

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/installed
	$(BIN)/pip freeze --exclude-editable --exclude angarium --exclude pip --exclude setuptools > constraints.txt

clean:
	rm -rf .venv .demo

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@
