# `make demo` and `make test` need Python 3.11 and nothing else; each target creates what it stands on.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV_COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --no-annotate --no-strip-extras --python-version 3.11

.PHONY: demo test check bench up clean lock

demo: $(VENV)/local
	$(BIN)/lipswap demo $(ARGS)

up: $(VENV)/local
	$(BIN)/lipswap up $(ARGS)

test: $(VENV)/dev check
	$(BIN)/pytest -m "not bench" $(ARGS)

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev
	$(BIN)/pytest -m bench -s $(ARGS)

# The environment with which the demo runs; the project's own build tools come from the same lock.
$(VENV)/local: locks/local.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r locks/local.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev: locks/dev.txt $(VENV)/local
	$(BIN)/pip install --quiet --require-hashes -r locks/dev.txt
	touch $@

# The dev environment is the demo's plus tools: one is compiled under the other's versions.
lock: $(VENV)/dev
	$(UV_COMPILE) --extra dev --output-file locks/dev.txt pyproject.toml
	$(UV_COMPILE) --extra local --extra build -c locks/dev.txt --output-file locks/local.txt pyproject.toml

clean:
	rm -rf $(VENV) .lipswap demo dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
