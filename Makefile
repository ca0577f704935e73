# `make check` is what a change has to pass. The Python used: make check PYTHON=.venv/bin/python
PYTHON ?= python3
TYPING := build/typing/nnprof

TESTS ?= tests

.PHONY: install bench test coverage lint types schema check gpu-evidence

install:
	$(PYTHON) -m pip install -c constraints.txt -e '.[cpu,train,test]'

bench:
	$(PYTHON) -m nnprof bench

test:
	$(PYTHON) -m pytest

# What the tests run, in their own process and in all that they start. TESTS=FOLDER for some of them.
coverage:
	rm -rf build/coverage
	$(PYTHON) -m coverage run -m pytest $(TESTS); code=$$?; \
		$(PYTHON) -m coverage combine -q && $(PYTHON) -m coverage report && exit $$code

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

# mypy does not see that the root folders are nnprof.profiler and so on: show it a tree that says so.
types:
	rm -rf build/typing
	mkdir -p $(TYPING)
	ln -s $(CURDIR)/nnprof/* $(CURDIR)/profiler $(CURDIR)/networks $(CURDIR)/exporters $(TYPING)
	MYPYPATH=build/typing $(PYTHON) -m mypy --strict --config-file setup.cfg -p nnprof

schema:
	$(PYTHON) -c 'import sys; from nnprof.profiler import results; sys.stdout.buffer.write(results.json_schema())' > docs/run.schema.json.tmp
	mv docs/run.schema.json.tmp docs/run.schema.json

check: lint types test

# On a machine with an NVIDIA GPU and the CUDA build of torch: the contract of the backends on the
# GPU, then the four groups of 2016, whose Runs are to be committed. Elsewhere the first line ends
# it, with the sentence that says what is missing.
gpu-evidence:
	$(PYTHON) -m nnprof bench --backend torch --device cuda --quick --out build/gpu
	NNPROF_TEST_DEVICE=cuda $(PYTHON) -m pytest -rs tests/profiler/backends/test_contract.py
	for group in group1 group2 group3 group4; do \
		$(PYTHON) -m nnprof bench --study $$group --backend torch --device cuda --out bench_results || exit 1; \
	done
	$(PYTHON) -m nnprof bench --study group2 --batch 1,1024 --backend torch --device cuda --option cuda_graph=1 --out bench_results
