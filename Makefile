# Two commands do everything: `make run` and `make test`. Each sets up what is missing first.

PYTHON ?= python3
BIN := .venv/bin
# With an NVIDIA driver the same lock file constrains a CUDA install; without one it is the CPU install, whole.
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | head -n 1)

.PHONY: run test setup lint bench clean

run: setup          ## a year of flights, week by week, with a live Triton
	$(BIN)/python -m benchmarks.year

test: setup         ## lint, types, layers, then every test but the longest few (`pytest -m long`, in CI)
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m 'not long'

setup: .venv/.ready .triton/.ready

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup        ## every measured claim; results in benchmarks/results
	$(BIN)/python -m benchmarks

clean:              ## forget the environments and the state of the example
	rm -rf .venv .triton .warmstart

.venv/.ready: locks/cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "warmstart needs Python 3.11 or newer; say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
ifeq ($(GPU),)
	@echo 'PyTorch, MLflow and what they need: about 2 GB to download, 3 GB on the disk; pip is quiet for two minutes or more'
	$(BIN)/pip install --quiet -r locks/cpu.txt
	$(BIN)/pip install --quiet --no-deps -e .
else
	@echo 'PyTorch for CUDA, MLflow and what they need: several GB to download; pip is quiet for some minutes'
	$(BIN)/pip install --quiet -c locks/cpu.txt -e '.[cuda,dev]'
endif
	touch $@

.triton/.ready: .venv/.ready serving/locks/server.txt serving/locks/server-wheel.txt
	$(BIN)/warmstart setup serving.runtime=.triton
	touch $@
