# make demo   ranks the built-in hub; make test   runs the tests; make lint   checks style and types
# make docs   builds the site in site/; make minihub  trains the models that come with hubfast
# make test-pair   runs the kernels' tests with the torch and the Triton of GPU machines
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(wildcard csrc/*)

.PHONY: demo test test-pair lint bench docs sanitize minihub clean

demo: $(VENV)/.installed
	$(BIN)/hubfast demo --html demo.html

# Two processes of one thread each take half as long as one of two threads. The first one's output
# comes after the second one's, and what failed in either comes last, where a cut log still shows it.
HALF := tests/ops tests/extraction tests/scores
test: SHELL := /bin/bash
test: $(VENV)/.installed-dev
	mkdir -p build
	export OMP_NUM_THREADS=1; set -o pipefail; status=0; \
	$(BIN)/python -m pytest -q $(HALF) > build/tests.log 2>&1 & half=$$!; \
	$(BIN)/python -m pytest -q $(addprefix --ignore=,$(HALF)) 2>&1 | tee build/rest.log || status=1; \
	wait $$half || status=1; cat build/tests.log; \
	grep -hE '^(FAILED|ERROR)' build/rest.log build/tests.log || true; exit $$status

# The tests of kernels, interpreted and compiled, with torch and Triton as GPU machines have them, in
# build/pair. All else is the environment's, CUDA's libraries for this torch too. NumPy is older
# because Triton 3.6's interpreter fails with 2.4.
PAIR := build/pair
PAIR_PACKAGES := torch==2.11.0 triton==3.6.0 numpy<2.4
PAIR_TESTS := tests/ops/routing tests/ops/zoo_conv tests/ops/test_triton_opcheck.py \
	tests/ops/test_compiled_kernels.py
PAIR_PYTHON := OMP_NUM_THREADS=1 PYTHONPATH=$(abspath $(PAIR)) $(BIN)/python
test-pair: $(VENV)/.installed-dev
	@if $(MAKE) --no-print-directory $(PAIR)/.installed; then \
		$(PAIR_PYTHON) -m pytest -q $(PAIR_TESTS); \
	else \
		echo "test-pair: NOT RUN, these cannot be installed here: $(PAIR_PACKAGES)"; \
	fi

$(PAIR)/.installed:
	rm -rf $(PAIR)
	$(BIN)/pip install --quiet --no-deps --no-compile --target $(PAIR) \
		$(foreach package,$(PAIR_PACKAGES),"$(package)")
	$(PAIR_PYTHON) -c "import torch, triton; print('pair:', torch.__version__, triton.__version__)"
	touch $@

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
