# `make demo` and `make test` need Python 3.11 and nothing else; each target creates what it stands on.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
TORCH_VERSION = 2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
UV_COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --no-annotate --no-strip-extras --python-version 3.11

# Test folders that run side by side, each with servers of its own; one more than cores, for they wait a lot.
JOBS ?= 3

# Of the images: YYYYMMDD-n. The bases are pinned by digest, which only a look at their registry tells (docs/deploy.md).
TAG ?=
REGISTRY ?= docker.io/lipswap
PYTHON_BASE ?=
CUDA_BASE ?=
MODELS ?=
ACKNOWLEDGED_LICENCES ?=

.PHONY: demo test test-ui screenshots test-images test-ha test-conformance test-crashes test-process check bench bench-scale fuzz chaos up clean lock images

demo: $(VENV)/local
	$(BIN)/lipswap demo $(ARGS)

up: $(VENV)/local
	$(BIN)/lipswap up $(ARGS)

test: $(VENV)/torch check
	$(BIN)/pytest -m "not bench and not scale and not fuzz and not ui and not images and not ha and not crash and not conformance" -n $(JOBS) $(ARGS)

# kill -9 of the orchestrator between any two steps, workers that sleep, poison runs, servers that are away.
test-crashes: $(VENV)/torch
	$(BIN)/pytest -m crash $(ARGS) tests/runs

# The tests of whole runs on Prefect's own worker instead of ours: a process per run.
test-process: $(VENV)/torch
	LIPSWAP_WORKER_TYPE=process $(BIN)/pytest \
		-m "not inprocess and not crash and not bench and not scale and not fuzz and not ui and not images and not ha" $(ARGS) tests/runs

# The page in a real Chromium (apt-get install chromium): all of it.
test-ui: $(VENV)/torch
	$(BIN)/pytest -m "not bench and not scale and not fuzz" $(ARGS) tests/ui

# The pictures of the documentation, made anew by the tests that look at the page.
screenshots: $(VENV)/torch
	$(BIN)/pytest --pictures docs/screenshots $(ARGS) tests/ui/test_screenshots.py tests/ui/test_operators_pages.py

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
	$(UV_COMPILE) --extra build -c locks/dev.txt --output-file locks/image-build.txt pyproject.toml
	$(UV_COMPILE) --extra api --extra orchestrator --extra server --extra deploy -c locks/dev.txt \
		--output-file locks/image-api.txt pyproject.toml
	$(UV_COMPILE) --extra ui -c locks/dev.txt --output-file locks/image-ui.txt pyproject.toml
	$(UV_COMPILE) --extra wav2lip-gpu -c locks/dev.txt --output-file locks/image-wav2lip.txt pyproject.toml
	$(UV_COMPILE) --extra facefusion-gpu -c locks/dev.txt --output-file locks/image-facefusion.txt pyproject.toml

# The four images, each with its bill of materials and its provenance attached; ARGS=--push sends them away.
images:
	@echo "$(TAG)" | grep -Eq '^[0-9]{8}-[1-9][0-9]*$$' || { echo "TAG=YYYYMMDD-n, such as TAG=20261125-1"; exit 2; }
	@for base in "$(PYTHON_BASE)" "$(CUDA_BASE)"; do echo "$$base" | grep -Eq '@sha256:[0-9a-f]{64}$$' || \
		{ echo "PYTHON_BASE=... and CUDA_BASE=... pinned by @sha256:, see docs/deploy.md"; exit 2; }; done
	for image in lipswap-api:api lipswap-ui:ui wav2lip-serverless:wav2lip facefusion-serverless:facefusion; do \
		docker buildx build --sbom=true --provenance=true --platform linux/amd64 \
			--file deployments/images/$${image#*:}.Dockerfile --tag $(REGISTRY)/$${image%:*}:$(TAG) \
			--build-arg PYTHON_BASE=$(PYTHON_BASE) --build-arg CUDA_BASE=$(CUDA_BASE) \
			--build-arg MODELS="$(MODELS)" --build-arg ACKNOWLEDGED_LICENCES="$(ACKNOWLEDGED_LICENCES)" \
			--build-arg VERSION=$(TAG) --build-arg REVISION=$$(git rev-parse HEAD) $(ARGS) . || exit 1; \
	done

# Each image's install set and command in a fresh environment that has only what its Dockerfile copies (minutes).
test-images: $(VENV)/torch
	$(BIN)/pytest -m images -s $(ARGS)

# What `lipswap conformance` tells of a service that is as our control plane, and of one that is not (minutes).
test-conformance: $(VENV)/torch
	$(BIN)/pytest -m conformance -s $(ARGS)

# Two of everything without containers, one of each killed while runs go through; a database lost and restored (minutes).
test-ha: $(VENV)/torch
	$(BIN)/pytest -m ha -s $(ARGS)

clean:
	rm -rf $(VENV) .lipswap demo dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
