# make demo     the main job on embedded PostgreSQL and Valkey (ARGS=--once checks itself and ends)
# make test     the whole test suite, on real servers
# make test-faults  what breaks loses nothing, at length (ARGS="-k flushed" for some of it)
# make test-browser  the portal and the admin in a real browser; skipped where there is none (SCREENSHOTS=folder)
# make pictures  those of the admin and the portal that the docs show, taken anew
# make check    style, types, import directions, known vulnerabilities
# make bench    Angarium beside stock Celery (ARGS="--rounds 1 --scale 0.1 courier" for part of it)
# make bench-scaling    what the rate grows with, and where it ends; ARGS=--write puts it into docs/
# make bench-retention  whether partitions by time would pay
# make bench-admin  each list of the admin and the API among 5,000,000 deliveries
# make docs     the pages of docs/ as a site, in site/
# make profile  where the courier's time goes
PYTHON ?= python3
BIN := .venv/bin
AUDIT := .venv/audit
ARGS ?=
# Tests of real processes wait more than they work.
WORKERS ?= 3

.PHONY: demo test test-browser pictures test-faults bench bench-scaling bench-retention bench-admin profile docs check audit format lock clean

demo: .venv/installed
	$(BIN)/python -m config.demo $(ARGS)

test: .venv/installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/browser $(ARGS)

test-browser: .venv/installed
	$(BIN)/python -m pytest tests/browser $(ARGS)

pictures: .venv/installed
	$(BIN)/python -m tests.browser.pictures $(ARGS)

test-faults: .venv/installed
	$(BIN)/python -m pytest tests/faults --long $(ARGS)

bench: .venv/installed
	$(BIN)/python -m tests.bench $(ARGS)

bench-scaling: .venv/installed
	$(BIN)/python -m tests.bench --scaling $(ARGS)

bench-retention: .venv/installed
	$(BIN)/python -m tests.bench.partitions $(ARGS)

bench-admin: .venv/installed
	$(BIN)/python -m tests.bench.admin $(ARGS)

profile: .venv/installed
	$(BIN)/python -m tests.bench --profile $(ARGS)

docs: .venv/installed
	$(BIN)/mkdocs build --strict --quiet

check: export DEBUG = 1
check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	@$(MAKE) --no-print-directory audit

# Known vulnerabilities of what is installed, where the service that knows them can be reached; of
# packages that it does not know it says how many there are.
audit: .venv/installed
	@if $(BIN)/pip-audit --skip-editable --progress-spinner off > $(AUDIT) 2>&1; then \
		echo "$$(head -1 $(AUDIT)), $$(grep -c "could not be audited" $(AUDIT)) packages not audited"; \
	elif grep -q "^Found " $(AUDIT); then \
		cat $(AUDIT); exit 1; \
	else \
		echo "Not audited: $$(tail -1 $(AUDIT))"; \
	fi

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/installed
	$(BIN)/pip freeze --exclude-editable --exclude angarium --exclude angarium-client --exclude pip --exclude setuptools > constraints.txt

clean:
	rm -rf .venv .demo site

.venv/installed: pyproject.toml client/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]" --editable "./client[cli]"
	touch $@
