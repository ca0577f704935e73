# `make check` is what a change has to pass. The Python used: make check PYTHON=.venv/bin/python
PYTHON ?= python3
TYPING := build/typing/nnprof

.PHONY: install bench test lint types schema check

install:
	$(PYTHON) -m pip install -c constraints.txt -e '.[cpu,train,test]'

bench:
	$(PYTHON) -m nnprof bench

test:
	$(PYTHON) -m pytest

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
