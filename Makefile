# All targets run in a virtual environment that is created on first use.
#   make demo      train a small model on synthetic people, test it, draw its predictions (about 10 minutes on 2 cores)
#   make test      the test suite without the slow tests
#   make coverage  the same, with coverage: half as long again
#   make test-all  the whole test suite
#   make test-web  test the web pages in a real browser (Debian: apt install chromium chromium-driver npm)
#   make test-deploy  test the real TensorRT-RTX builder on every model, without a GPU (a 90 MB package)
#   make test-cloud  test batches on a store that speaks S3, on this machine (160 MB of packages)
#   make test-engines  export to every engine that is not in the test environment, and run it there (several GB; ENGINES="ncnn")
#   make test-versions  the runtime part with old and new Python, OpenCV, NumPy and ONNX Runtime (15 minutes with data/coco)
#   make test-runtime  test the runtime part, without torch, on PYTHON38 (default: python3.8)
#   make fuzz-codec  decode a million generated maps in both forms (about an hour on one core; FUZZ_ARGS="--maps 10000")
#   make fuzz      damaged photos, labels, sidecars, checkpoints, options, maps (5 minutes; FUZZ_ARGS="--minutes 60")
#   make soak      predict and the web server for 10 minutes, watching memory and open files (SOAK_ARGS="--minutes 60")
#   make crash     failing disks and kills at every call of the commands (5 minutes; CRASH_ARGS="--minutes 60"); Linux, cc
#   make audit     known vulnerabilities of the installed packages; skipped without network
#   make lint      ruff, mypy and the import rules      make format   format the code with ruff
#   make docs      the documentation site, in site/
#   make dist      sdist, wheel and bill of materials in dist/, checked, installed and used in clean environments (a few minutes)
#   make clean     remove the environment and the caches
# Settings: PYTHON (3.10 or newer), PYTHON38, VENV, JOBS (test processes), PIP_ARGS (e.g. an index with CPU builds).

SHELL := /bin/bash
PYTHON ?= python3
PYTHON38 ?= python3.8
VENV ?= .venv
JOBS ?= 2
PIP_ARGS ?=
FUZZ_ARGS ?=
SOAK_ARGS ?=
CRASH_ARGS ?=
ENGINES ?=
VERSIONS_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-tests
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
# One thread per test process: JOBS processes share the cores.
# worksteal: each starts with half of the files, so that what a file's tests share is made once, and none ends idle.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
COVERAGE := --cov=ehrpose --cov-report=term:skip-covered --cov-fail-under=85

.DEFAULT_GOAL := help
.PHONY: help install demo demo-plan test coverage test-all test-web test-deploy test-cloud test-engines test-versions test-runtime fuzz-codec fuzz soak crash audit lint format docs dist clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

install: $(TEST_STAMP)

$(STAMP): setup.py pyproject.toml $(wildcard requirements/*.txt)
	@command -v "$(PYTHON)" >/dev/null || \
	  { echo "'$(PYTHON)' not found. Install Python 3.10 or newer, or specify it: make PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Training needs Python 3.10 or newer, got $$("$(PYTHON)" --version 2>&1)." \
	         "Specify a newer one: make PYTHON=python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python cannot create virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) (a minute or more on first use) ..."
	@"$(PYTHON)" -m venv "$(VENV)"
	@$(BIN)/python -m pip --disable-pip-version-check install $(PIP_ARGS) -c requirements/constraints.txt -e ".[train]"
	@touch "$@"

$(TEST_STAMP): $(STAMP)
	@echo "Installing the test requirements ..."
	@$(PIP) install $(PIP_ARGS) -c requirements/constraints.txt -e ".[train,deploy,web,tests]"
	@touch "$@"

# Before the installation, which takes most of a first run's waiting.
demo-plan:
	@echo "make demo trains a small model on drawn people, tests it on scenes it has not seen, and draws what it finds:"
	@echo "about 10 minutes on two CPU cores, no GPU and no photos needed. Everything stays in $(VENV) and work_dirs/demo."
	@if [ -e "$(STAMP)" ]; then echo "Already installed: nothing is downloaded."; else \
	  echo "First it installs into $(VENV). On Linux, PyPI's PyTorch brings the CUDA libraries: about 3 GB of downloads."; \
	  echo "An index with CPU builds (make demo PIP_ARGS=\"--index-url URL\") makes that about 0.5 GB."; fi

demo: demo-plan $(STAMP)
	@$(BIN)/python demo/synthetic_demo.py

test: $(TEST_STAMP)
	$(PYTEST) -m "not slow and not gpu" $(if $(COVERED),$(COVERAGE))

coverage: COVERED := 1
coverage: test

test-all: $(TEST_STAMP)
	$(PYTEST)

test-web: $(TEST_STAMP)
	@$(PIP) install $(PIP_ARGS) selenium
	@if [ ! -d build/ort-web/package ] && command -v npm >/dev/null; then mkdir -p build/ort-web && cd build/ort-web && \
	  npm pack --silent "$$(sed -n 's/^ORT_VERSION = "\(.*\)"/onnxruntime-web@\1/p' ../../ehrpose/web/static_page.py)" && \
	  tar -xzf onnxruntime-web-*.tgz; fi
	@if [ -d build/ort-web/package ]; then export ORT_WEB_DIR=$(CURDIR)/build/ort-web; fi; \
	  $(BIN)/python -m pytest tests/web

test-deploy: $(TEST_STAMP)
	@$(PIP) install $(PIP_ARGS) tensorrt-rtx-cu12==1.7.1.116
	$(BIN)/python -m pytest tests/deploy

test-cloud: $(TEST_STAMP)
	@$(PIP) install $(PIP_ARGS) -c requirements/constraints.txt -e ".[cloud]" "moto[s3]" flask flask-cors
	$(BIN)/python -m pytest tests/batch/test_object_storage.py tests/batch/test_object_storage_runs.py

# Each in an environment of its own on top of the test environment: their converters want packages that clash.
test-engines: $(TEST_STAMP)
	@PIP_ARGS="$(PIP_ARGS)" $(BIN)/python .ci/test_engines.py $(VENV) $(ENGINES)

# Pythons from the PATH or pyenv; VERSIONS_ARGS="--limit 100" for fewer photos.
test-versions: $(TEST_STAMP)
	@PIP_ARGS="$(PIP_ARGS)" $(BIN)/python .ci/test_versions.py $(VENV) $(VERSIONS_ARGS)

test-runtime:
	@command -v "$(PYTHON38)" >/dev/null && "$(PYTHON38)" --version >/dev/null 2>&1 || \
	  { echo "'$(PYTHON38)' not found. Specify it: make test-runtime PYTHON38=/path/to/python3.8"; exit 1; }
	@"$(PYTHON38)" -m venv "$(VENV)-runtime"
	@"$(VENV)-runtime/bin/python" -m pip --disable-pip-version-check --quiet --quiet install $(PIP_ARGS) ".[video]" pytest
	@! "$(VENV)-runtime/bin/python" -c 'import torch' 2>/dev/null
	"$(VENV)-runtime/bin/python" -m pytest tests/runtime

fuzz-codec: $(TEST_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tools/analysis_tools/fuzz_codec.py $(FUZZ_ARGS)

fuzz: $(TEST_STAMP)
	$(BIN)/python tools/misc/reliability.py fuzz $(FUZZ_ARGS)

soak: $(TEST_STAMP)
	$(BIN)/python tools/misc/reliability.py soak $(SOAK_ARGS)

crash: $(TEST_STAMP)
	$(BIN)/python tools/misc/reliability.py crash $(CRASH_ARGS)

# In an environment of its own, so that only what the project needs is looked up.
audit: $(TEST_STAMP)
	@"$(PYTHON)" -m venv "$(VENV)-audit"
	@"$(VENV)-audit/bin/python" -m pip --disable-pip-version-check --quiet --quiet install $(PIP_ARGS) --retries 1 \
	  -c requirements/constraints.txt -r requirements/audit.txt 2>/dev/null || \
	  echo "audit skipped: pip-audit cannot be installed"
	@! "$(VENV)-audit/bin/python" -c 'import pip_audit' 2>/dev/null || \
	  "$(VENV)-audit/bin/python" .ci/audit.py $(BIN)/python

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TEST_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(TEST_STAMP)
	@$(PIP) install $(PIP_ARGS) -c requirements/constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build --strict

dist:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make dist needs Python 3.10 or newer, not '$(PYTHON)'. Specify one: make dist PYTHON=python3.11"; exit 1; }
	@"$(PYTHON)" -m venv "$(VENV)-dist"
	@"$(VENV)-dist/bin/python" -m pip --disable-pip-version-check --quiet --quiet install $(PIP_ARGS) \
	  -c requirements/constraints.txt -r requirements/dist.txt
	"$(VENV)-dist/bin/python" .ci/check_dist.py --python "$(PYTHON)" --pip-args "$(PIP_ARGS)"

clean:
	rm -rf "$(VENV)" "$(VENV)-runtime" "$(VENV)-dist" "$(VENV)-audit" "$(VENV)"-versions-* build dist site *.egg-info .coverage* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
