# Every target of this file says what it does in its ## comment; `make` prints them.
PYTHON ?= python

.DEFAULT_GOAL := help
.PHONY: help install test fast mutants lint docs sdist quickstart ci clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install:  ## install what tests, checks and documentation need
	$(PYTHON) -m pip install -r requires.txt

test:  ## run all tests (needs a Redis server, else its tests are skipped)
	$(PYTHON) -m nose

fast:  ## run the tests that take no time: layout, codec, memory queue
	$(PYTHON) -m nose test/test_layout.py test/test_codec.py test/queue/memory/test_queue.py

mutants:  ## small wrong changes, and whether tests notice: takes long, needs requires-ci.txt too
	$(PYTHON) -m test.mutants.run

lint:  ## ruff on everything, mypy --strict on the package, the layers of imports
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	lint-imports

docs:  ## build the documentation into doc/_build/html, warnings are errors
	$(MAKE) -C doc html PYTHON=$(PYTHON) SPHINXOPTS=-W

sdist:  ## build the source package into dist/
	$(PYTHON) setup.py -q sdist

quickstart:  ## run the first example
	PYTHONPATH=. $(PYTHON) examples/quickstart.py

ci:  ## all that is checked before a change lands, in fresh environments; HALF=plain or guests: some
	bash .ci/run $(HALF)

clean:  ## remove what the other targets made
	rm -rf build dist *.egg-info doc/_build .hypothesis .mypy_cache .ruff_cache .import_linter_cache .grimp_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
