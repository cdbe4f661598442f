# `make demo` and `make test` work on a fresh machine with Python 3.11 or newer: they set up .venv first, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SUPPLY := $(VENV)/supply
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev-ready

.PHONY: demo test lint types golden bench lock sbom audit clean help
.DEFAULT_GOAL := help

demo: $(READY)  ## Scan the example recordings, write demo-report.html and demo-scan.json
	@status=0; $(BIN)/spoofcheck scan examples/recordings --no-store --json demo-scan.json --report demo-report.html || status=$$?; \
	case $$status in \
	  0) ;; \
	  1) echo "Exit code 1: something was flagged, as it should be here (examples/ATTRIBUTION.md says what is true)." ;; \
	  3) echo "Exit code 3: nothing was flagged, and some input was not scored." ;; \
	  *) echo "The scan failed with exit code $$status." >&2; exit $$status ;; \
	esac; \
	echo "The report is demo-report.html, the result document demo-scan.json."

test: lint types  ## Check style and types, then run all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

lint: $(DEV_READY)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_READY)  ## Check types
	$(BIN)/mypy --strict spoofcheck

golden: $(DEV_READY)  ## Rewrite golden files and generated docs from what the code says now; read the diff
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.models
	$(BIN)/python -m tests.golden.regenerate

bench: $(DEV_READY)  ## Measure speed and memory, rewrite bench/RESULTS.md (an hour on an idle machine)
	$(BIN)/python -m bench.all

# uv reads no pip.conf: what a machine mirrors or builds for itself can't get into the lock. Wheels alone, so that an
# installation runs no package's own code.
lock: $(VENV)/.pip  ## Rewrite requirements.lock, keeping pins that still fit (newest of all: make lock NEW=--upgrade)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --no-config pyproject.toml --extra serve --output-file requirements.lock $(NEW) \
	  --generate-hashes --only-binary :all: --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock'

# Neither needs spoofcheck's dependencies, so they have an environment of their own. Only what is exact gives the same
# bill again: the versions are pinned.
sbom: $(SUPPLY)/.ready  ## Write sbom.cdx.json: what requirements.lock installs, and the models, as CycloneDX
	$(SUPPLY)/bin/python -m docs.sbom sbom.cdx.json

# Without --strict pip-audit ends well when it could not look a package up.
audit: $(SUPPLY)/.ready  ## Ask the package index for known vulnerabilities of what requirements.lock installs
	$(SUPPLY)/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict \
	  --progress-spinner off

clean:  ## Remove what the other targets made, the virtual environment included
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-report.html demo-scan.json sbom.cdx.json
	find spoofcheck tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# pip 25.1 is the first that reads dependency groups.
$(VENV)/.pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and python3 is not on the PATH." >&2; exit 2; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(SUPPLY)/.ready: $(VENV)/.pip Makefile
	$(BIN)/python -m venv $(SUPPLY)
	$(SUPPLY)/bin/python -m pip install --quiet --disable-pip-version-check \
	  'cyclonedx-python-lib[json-validation]==11.12.0' 'packaging==26.3' 'pip-audit==2.10.1'
	@touch $@

$(READY): pyproject.toml $(VENV)/.pip
	@echo "Installing spoofcheck and what it needs into $(VENV); torch is large, this takes some minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV_READY): pyproject.toml $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cluster,onnx,serve,train]' --group dev
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	  else \
	    echo "chromium is not installed and apt-get can't be used: the tests that open the report are skipped." >&2; \
	  fi; }
	@touch $@
