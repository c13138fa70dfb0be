# make up    from nothing to an answering endpoint: environment, build, built-in model, server
# make test  the tests, in the same environment; works from a fresh clone
#
# Needs Python 3.10 or newer, make and a C++17 compiler; CMake and Ninja come from the package index.
# uv is used where it is installed. PYTHON=... picks an interpreter, ARGS=... goes to the command.

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
MODEL ?=
PARITY_TESTS := tests/models tests/formats tests/text tests/recipes
READER ?= gguf
SECONDS ?= 60
FUZZ := build/fuzz
BENCH_MODEL := $(if $(MODEL),$(MODEL),random:qwen2.5-0.5b)

NEW_ENOUGH := 'import sys; sys.exit(sys.version_info < (3, 10))'
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$each -c $(NEW_ENOUGH) 2>/dev/null && echo $$each && break; done)
UV := $(shell command -v uv 2>/dev/null)

# What the installed package is made of: a change reinstalls it.
SOURCES := pyproject.toml CMakeLists.txt $(wildcard README.md) LICENSE $(shell find src/fairway -type f \
	! -name '*.pyc' ! -name '*.so' ! -path '*/__pycache__/*' | sed 's/ /\\ /g')

ifneq ($(UV),)
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
INSTALL_FAIRWAY := $(INSTALL) --reinstall-package fairway .
CREATE := $(UV) venv --quiet $(if $(PYTHON),--python $(PYTHON),--python '>=3.10') $(VENV)
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALL_FAIRWAY := $(INSTALL) .
# Dependency groups need pip 25.1.
CREATE := $(PYTHON) -m venv $(VENV) && $(INSTALL) 'pip>=25.1'
endif

.DEFAULT_GOAL := help
.PHONY: help setup up test test-aarch64 test-avx-vnni parity fuzz lint bench clean

help: ## show this
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 24

setup: $(VENV)/.installed ## create .venv, build the kernels and install the package

up: $(VENV)/.installed ## serve MODEL (default: the built-in one); ARGS="--no-serve" ends after the check
	@$(BIN)/fairway up $(MODEL) $(ARGS)

test: $(VENV)/.test ## run the tests; ARGS go to pytest
	@$(BIN)/python -m pytest $(ARGS)

test-aarch64: $(VENV)/.cross ## the kernel tests on AArch64 under qemu-user; needs Debian's g++-aarch64-linux-gnu, qemu-user
	@tests/cross/aarch64.sh $(BIN)/python $(ARGS)

test-avx-vnni: $(VENV)/.test $(VENV)/.cross ## the kernel tests of avx2_vnni on a processor with AVX-512 VNNI
	@tests/cross/avx_vnni.sh $(BIN)/python $(ARGS)

parity: $(VENV)/.parity ## the tests beside transformers, gguf, safetensors and PyTorch themselves
	@$(BIN)/python -m pytest $(PARITY_TESTS) $(ARGS)

fuzz: $(VENV)/.fuzz ## feed READER (gguf, safetensors, pickle, onnx) with broken files for SECONDS (60)
	@$(BIN)/python tests/fuzz/make_seeds.py $(FUZZ)/seeds
	@mkdir -p $(FUZZ)/found/$(READER)
	@$(BIN)/python tests/fuzz/fuzz_reader.py $(READER) $(FUZZ)/found/$(READER) $(FUZZ)/seeds/$(READER) \
		-max_total_time=$(SECONDS) -rss_limit_mb=2048 -timeout=10 -artifact_prefix=$(FUZZ)/ $(ARGS)

lint: $(VENV)/.lint ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.installed ## measure MODEL (default: the shape of Qwen2.5-0.5B, random weights)
	@$(BIN)/fairway bench $(BENCH_MODEL) $(ARGS)

clean: ## remove the environment and everything built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.created:
	@$(if $(UV)$(PYTHON),,echo "Python 3.10 or newer is needed; name one with PYTHON=..." >&2; exit 1)
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
		 { echo "A C++17 compiler is needed (g++ or clang++)." >&2; exit 1; }
	@echo "Creating $(VENV)"
	@$(CREATE)
	@touch $@

$(VENV)/.installed: $(VENV)/.created $(SOURCES)
	@echo "Building the kernels and installing Fairway (a minute or two the first time)"
	@$(INSTALL_FAIRWAY)
	@touch $@

$(VENV)/.cross: $(VENV)/.created pyproject.toml
	@$(INSTALL) --group cross
	@touch $@

$(VENV)/.test: $(VENV)/.installed pyproject.toml
	@$(INSTALL) --group test
	@touch $@

$(VENV)/.parity: $(VENV)/.test pyproject.toml
	@$(INSTALL) --group parity
	@touch $@

$(VENV)/.fuzz: $(VENV)/.installed pyproject.toml
	@$(INSTALL) --group fuzz
	@touch $@

$(VENV)/.lint: $(VENV)/.installed pyproject.toml
	@$(INSTALL) --group lint
	@touch $@
