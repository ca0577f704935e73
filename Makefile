# `make check` is what a change has to pass. The Python used: make check PYTHON=.venv/bin/python
PYTHON ?= python3
TYPING := build/typing/nnprof

TESTS ?= tests

.PHONY: install bench test matrix coverage lint types schema check gpu-evidence docs tree

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

# Neither mypy nor mkdocs sees that the root folders are nnprof.profiler and so on: a tree says so.
tree:
	rm -rf build/typing
	mkdir -p $(TYPING)
	ln -s $(CURDIR)/nnprof/* $(CURDIR)/profiler $(CURDIR)/networks $(CURDIR)/exporters $(TYPING)

types: tree
	MYPYPATH=build/typing $(PYTHON) -m mypy --strict --config-file setup.cfg -p nnprof

schema:
	$(PYTHON) -c 'import sys; from nnprof.profiler import results; sys.stdout.buffer.write(results.json_schema())' > docs/run.schema.json.tmp
	mv docs/run.schema.json.tmp docs/run.schema.json

# The contract of the backends on each runtime, each in an environment of its own. ROWS=mnn for some.
matrix:
	$(PYTHON) tests/matrix.py $(ROWS)

# The documents as a site, in build/site; needs the extra: pip install -c constraints.txt '.[docs]'
docs: tree
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

check: lint types test

# On a machine with an NVIDIA GPU and the CUDA build of torch: the contract of the backends on the
# GPU, the four groups of 2016, CUDA graphs, fp16, the clean time beside torch's and Triton's own
# timers with op times by events and CUPTI, a cost model, and the GPU beside the processor. Runs and
# results are to be committed. Elsewhere the first line ends it, with the sentence of what is missing.
GPU = $(PYTHON) -m nnprof bench --backend torch --device cuda
gpu-evidence:
	$(GPU) --quick --out build/gpu
	NNPROF_TEST_DEVICE=cuda $(PYTHON) -m pytest -rs tests/profiler/backends/test_contract.py
	for group in group1 group2 group3 group4; do $(GPU) --study $$group --out bench_results/gpu || exit 1; done
	$(GPU) --study group2 --batch 1,1024 --option cuda_graph=1 --out bench_results/gpu/graphs
	$(GPU) --study table2 --precision fp32,fp16 --out bench_results/gpu
	$(PYTHON) benchmarks/gpu.py benchmarks/results/gpu.json
	$(PYTHON) -m nnprof fit-model bench_results/gpu/group?-*.json -o bench_results/gpu/model.json
	$(PYTHON) -m nnprof compare bench_results/gpu/group3-*.json bench_results/studies/group3-torch.json \
		--across --grid neurons,fc
