# make demo   ranks the built-in hub; make test   runs the tests; make lint   checks style and types
# make docs   builds the site in site/; make minihub  trains the models that come with hubfast
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(wildcard csrc/*)

.PHONY: demo test lint bench docs sanitize minihub clean

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

# The files in hubfast/minihub/weights: ten models, and what fine-tuning them on each target gives.
minihub: $(VENV)/.installed
	rm -rf build/minihub
	HUBFAST_CACHE=build $(BIN)/hubfast minihub build --rebuild
	HUBFAST_CACHE=build $(BIN)/hubfast minihub truth handwritten lowercase outlines weaves angle
	cp build/minihub/*.safetensors build/minihub/truth.jsonl hubfast/minihub/weights/

# The native core built to stop at the first bad access or undefined operation. Its functions for
# several instruction sets are left out: the loader chooses among them before the checks are set up.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
sanitize: $(VENV)/.installed-dev
	rm -rf build/sanitize && mkdir -p build/sanitize
	cp -r csrc hubfast kernels LICENSE README.md pyproject.toml setup.py build/sanitize
	rm -f build/sanitize/hubfast/*.so
	cd build/sanitize && CXXFLAGS="-g -DHUBFAST_NO_CLONES $(SANITIZE)" LDFLAGS="$(SANITIZE)" \
		$(abspath $(BIN))/python setup.py -q build_ext --inplace
	grep -q __asan_init build/sanitize/hubfast/_native*.so
	cd build/sanitize && ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
		$(abspath $(BIN))/python -m pytest -q -p no:cacheprovider \
		../../tests/ops/linalg/test_native.py ../../tests/ops/zoo_conv/test_native.py

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
