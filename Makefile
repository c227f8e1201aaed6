# Every target that needs .venv makes it first; when nothing changed that costs nothing. Works with make 3.81.

PYTHON = .venv/bin/python
PYTEST = $(PYTHON) -m pytest -n 2 --dist loadfile
DEMO = .demo

.PHONY: setup demo test test-long test-page test-cluster e2e check bench clean

setup:
	@sh tools/setup.sh

demo: setup
	@$(PYTHON) -m local.demo $(DEMO)

test: setup
	$(PYTEST) -m "not long"

test-long: setup
	$(PYTEST)

# The page in a real browser; installs one where none is.
test-page: setup
	@sh tools/browser.sh
	$(PYTEST) tests/page

# The first time it builds Kubernetes, which takes minutes; see tests/cluster.
test-cluster: setup
	$(PYTHON) -m tests.cluster.binaries
	$(PYTHON) -m tests.cluster.binaries helm
	$(PYTEST) tests/cluster tests/charts

# The images, the chart and real pods: on the cluster of KUBECONFIG, with CLUSTER=kind on one of kind, or else, as root
# on Linux, on a node that is this machine; see tests/e2e.
e2e: setup
	@sh tools/browser.sh
	CLUSTER=$(CLUSTER) $(PYTHON) -m tests.e2e

check: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTEST) -m "not long" tests/unit

bench: setup
	$(PYTHON) -m tests.bench

# What was made here but .venv, which costs minutes; remove that by hand.
clean:
	@if [ -d $(DEMO) ] && [ -x $(PYTHON) ]; then $(PYTHON) -m local.demo --clean $(DEMO); fi
	rm -rf $(DEMO) build bench.json *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
