# Every target sets up what it needs in .venv and .runtimes; nothing is installed outside this folder.
#   make demo    the main job end to end on two leaking services   (KEEP=1 leaves it running)
#   make test    the tests                                         (TESTS=tests/agent for a part)
#   make images  the Docker images            (BASE=python:3.13-slim, NETWORK=none after make wheels)
#   make hooks   both hooks with their C parts, for every CPython at hand, in build/hooks: what an init container copies
#   make manifests   deploy/kubernetes/*.yaml from the Helm chart, for kubectl apply
#   make check   exactly what CI runs: format, lint, arrows, types, generated code, tests
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?= tests
# Programs are waited for more than computed. Without root, tests that would meet on a port wait for each other: tests/conftest.py.
WORKERS ?= 4
PROTOS := $(wildcard proto/memwatch_proto/v1/*.proto)

.PHONY: help manifests hooks hook-wheels demo test check lint types arrows proto proto-check fmt bench wheels images clean

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/installed: pyproject.toml hook/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cannot set up memwatch with '$(PYTHON)': Python 3.11 or newer is needed; run make PYTHON=python3.11 …" >&2; exit 1; }
	@echo "→ setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet -e '.[agent,controller,analysis,dev]' -e ./hook
	@$(BIN)/python -m memwatch_heap.warm 2>/dev/null
	@touch $@

# The hook's C parts are built into its folder: anew when what they are made of has changed.
$(VENV)/hook-built: $(VENV)/installed hook/setup.py $(wildcard hook/csrc/*)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet -e ./hook
	@touch $@

demo: $(VENV)/hook-built
	@$(BIN)/python deploy/demo/demo.py $(if $(KEEP),--keep)

test: $(VENV)/hook-built
	@$(BIN)/python -m tests.support.runtimes
	@$(BIN)/python -m tests.support.fork_addon
	@$(BIN)/python -m tests.support.engine
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

# deploy/docker/hooks.py puts what is here into images. Without a compiler the hooks work, slower.
hooks: $(VENV)/installed
	@$(BIN)/python hook/build.py folder build/hooks/python
	@$(BIN)/python -m tests.support.fork_addon
	@mkdir -p build/hooks/node && cp hook/node/*.cjs build/hooks/node
	@cp hook/node/*.node build/hooks/node 2>/dev/null || true

hook-wheels: $(VENV)/installed
	@$(BIN)/python hook/build.py wheels build/hook-wheels

# Programs are started and killed on two shared cores: a failed test gets one second try, and the summary names it.
# What the tests run against is installed while the code is looked at.
check: $(VENV)/hook-built
	@$(BIN)/python -m tests.support.runtimes & installing=$$!; \
	  $(MAKE) --no-print-directory lint arrows types proto-check || { kill $$installing; exit 1; }; \
	  wait $$installing
	@$(MAKE) --no-print-directory test ARGS="$(ARGS) --reruns 1 -rR --durations 30"

lint: $(VENV)/installed
	@echo "→ format and lint"
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

arrows: $(VENV)/installed
	@echo "→ arrows"
	@PYTHONPATH=proto:heap:agent:controller:cli:hook $(BIN)/lint-imports --no-cache

types: $(VENV)/installed
	@echo "→ types"
	@$(BIN)/mypy

proto: $(VENV)/installed
	@PATH=$(abspath $(BIN)):$$PATH $(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto \
	  --grpc_python_out=proto --mypy_grpc_out=quiet:proto $(PROTOS)

proto-check: proto
	@echo "→ protos: buf lint, generated code is up to date"
	@$(BIN)/buf lint
	@git diff --exit-code --stat -- proto || { echo "cannot accept generated code: it differs from the protos; run make proto and commit" >&2; exit 1; }

fmt: $(VENV)/installed
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(VENV)/hook-built
	@$(BIN)/python -m bench $(ARGS)

# Every wheel that the images need, so that they are built without a network.
wheels: build/wheels/collected
build/wheels/collected: $(VENV)/installed pyproject.toml
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --wheel-dir build/wheels '.[agent,controller]' 'hatchling>=1.27'
	@touch $@

# After make hooks they have the hooks' C parts. BASE is an image with Python 3.11 or newer; NETWORK=none builds from `make wheels` alone.
IMAGES ?= agent controller init
BASE ?= python:3.13-slim
TAG ?= $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' proto/memwatch_proto/__init__.py)
OFFLINE := $(if $(filter none,$(NETWORK)),--network none --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/src/build/wheels)
images:
	@for image in $(IMAGES); do \
	  docker build --quiet $(OFFLINE) --build-arg BASE=$(BASE) -f deploy/docker/$$image.Dockerfile -t memwatch/$$image:$(TAG) . || exit 1; \
	done

# Helm is installed by make test; HELM= names another.
HELM ?= .runtimes/helm/helm
manifests: $(VENV)/installed
	@$(BIN)/python deploy/kubernetes/render.py $(HELM)

clean:
	rm -rf $(VENV) .runtimes .demo
