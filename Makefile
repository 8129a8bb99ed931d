# Targets set up what they need in .venv; nothing outside the checkout is changed.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Packages with the same top-level names as others have a folder of their own, which tests put first on the path.
SECOND_API := $(VENV)/second-api/ready
SECOND_API_REQUIREMENTS := requirements/second-api-no-deps.txt
SPARSEML := $(VENV)/sparseml/ready
SPARSEML_REQUIREMENTS := requirements/sparseml-no-deps.txt
REQUIREMENTS := $(filter-out $(SECOND_API_REQUIREMENTS) $(SPARSEML_REQUIREMENTS),$(wildcard requirements/*.txt))
PIP := $(BIN)/python -m pip --disable-pip-version-check

export TF_CPP_MIN_LOG_LEVEL ?= 2
export MPLBACKEND := Agg

.PHONY: help setup demo demo-maskrcnn bench study test test-all models check format package clean

help:
	@echo "make demo      prune an Object Detection model on real digits, end to end (ten minutes)"
	@echo "make demo-maskrcnn  the same with Mask R-CNN and instance masks (half an hour)"
	@echo "make test      set up and run the tests"
	@echo "make test-all  the slow tests too, every real model among them (two hours), write docs/models.md"
	@echo "make models    of these the real models alone (two hours)"
	@echo "make bench     measure what pruning costs, against its budgets (twenty minutes)"
	@echo "make study     compare large sparse nets with small dense ones on real digits (half an hour)"
	@echo "make check     lint, types, import contract"
	@echo "make package   build the wheel"
	@echo "make clean     remove the environment and everything built"

setup: $(READY)

$(READY): $(REQUIREMENTS) setup.cfg pyproject.toml
	@python=$$(PYTHON="$(PYTHON)" tools/find-python37) && echo "setting up $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)
	$(PIP) install --quiet "pip==24.0" "setuptools==68.0.0" "wheel==0.42.0"
	$(PIP) install --quiet --prefer-binary $(addprefix -r ,$(filter-out %-no-deps.txt,$(REQUIREMENTS)))
	$(PIP) install --quiet --no-deps $(addprefix -r ,$(filter %-no-deps.txt,$(REQUIREMENTS)))
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(SECOND_API): $(READY) $(SECOND_API_REQUIREMENTS)
	rm -rf $(@D)
	$(PIP) install --quiet --no-deps --target $(@D) -r $(SECOND_API_REQUIREMENTS)
	@touch $@

# It is measured where it installs.
$(SPARSEML): $(READY) $(SPARSEML_REQUIREMENTS)
	rm -rf $(@D)
	$(PIP) install --quiet --no-deps --target $(@D) -r $(SPARSEML_REQUIREMENTS) && touch $@ || echo "going on without SparseML"

demo: $(READY)
	$(BIN)/python -m examples.digit_scenes --out build/demo

demo-maskrcnn: $(READY)
	$(BIN)/python -m examples.digit_scenes --model mask_rcnn --out build/demo-maskrcnn

bench: $(READY) $(SPARSEML)
	$(BIN)/python -m benchmarks

study: $(READY)
	$(BIN)/python -m benchmarks.accuracy

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# The page is written whatever failed, as rows that have changed are a failure, too. What has no result is run again.
test-all: $(READY) $(SECOND_API)
	$(BIN)/python -m pytest -n 2 --dist loadfile; status=$$?; \
	$(BIN)/python -m tests.models.matrix --keep --docs docs/models.md && exit $$status

models: $(READY) $(SECOND_API)
	$(BIN)/python -m tests.models.matrix --docs docs/models.md

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy graph_masker rewriters
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

package: $(READY)
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info
