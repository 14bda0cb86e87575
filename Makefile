# make demo   ranks the built-in hub; make test   runs the tests; make lint   checks style and types
# make docs   builds the site in site/
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(wildcard csrc/*)

.PHONY: demo test lint bench docs clean

demo: $(VENV)/.installed
	$(BIN)/hubfast demo --html demo.html

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python -m pytest benchmarks -q -s

docs: $(VENV)/.installed-dev
	$(BIN)/python -m mkdocs build --strict

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/pip $(SOURCES)
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build site *.egg-info hubfast/*.so
