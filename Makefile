# `make demo` and `make test` need Python 3.11 and nothing else; each target creates what it stands on.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
TORCH_VERSION = 2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
UV_COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --no-annotate --no-strip-extras --python-version 3.11

# Test folders that run side by side; each brings servers of its own.
JOBS ?= 2

.PHONY: demo test test-ui check bench bench-scale fuzz chaos up clean lock

demo: $(VENV)/local
	$(BIN)/lipswap demo $(ARGS)

up: $(VENV)/local
	$(BIN)/lipswap up $(ARGS)

test: $(VENV)/torch check
	$(BIN)/pytest -m "not bench and not scale and not fuzz and not ui" -n $(JOBS) $(ARGS)

# The page in a real Chromium (apt-get install chromium): all of it, with the screenshots of the documentation.
test-ui: $(VENV)/torch
	$(BIN)/pytest -m "not bench" $(ARGS) tests/ui

check: $(VENV)/torch
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/torch
	$(BIN)/pytest -m bench -s $(ARGS)

# FUZZ_EXAMPLES: requests per route and phase; FUZZ_REPORT: a file for the report.
fuzz: $(VENV)/torch
	$(BIN)/pytest -m fuzz -s tests/api $(ARGS)

# Three hundred runs at once on one orchestrator; about ten minutes.
bench-scale: $(VENV)/torch
	$(BIN)/pytest -m scale -s tests/benchmarks/test_scale.py $(ARGS)

# Everything is killed with -9 at random while jobs are computed: make chaos SEED=7 CHAOS_JOBS=100 KILLS=40
chaos: $(VENV)/torch
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS)) \
		$(if $(CHAOS_JOBS),--jobs $(CHAOS_JOBS))

# The environment with which the demo runs; the project's own build tools come from the same lock.
$(VENV)/local: locks/local.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --require-hashes -r locks/local.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev: locks/dev.txt $(VENV)/local
	$(BIN)/pip install --quiet --no-deps --require-hashes -r locks/dev.txt
	touch $@

# torch beside the locks: its CPU builds (200 MB instead of gigabytes of CUDA) lie at an index of their own under versions
# such as 2.13.0+cpu, which pip prefers to PyPI's where there are both. Another index: make test TORCH_INDEX=...
$(VENV)/torch: $(VENV)/dev
	$(BIN)/pip install --quiet --no-deps --retries 1 --extra-index-url $(TORCH_INDEX) torch==$(TORCH_VERSION)
	$(BIN)/python -c "import torch"
	touch $@

# The dev environment is the demo's plus tools: one is compiled under the other's versions.
lock: $(VENV)/dev
	$(UV_COMPILE) --extra dev --output-file locks/dev.txt pyproject.toml
	$(UV_COMPILE) --extra local --extra build -c locks/dev.txt --output-file locks/local.txt pyproject.toml

clean:
	rm -rf $(VENV) .lipswap demo dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
