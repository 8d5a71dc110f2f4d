# make demo   text in, artefacts that are proved to work, and a report out
# make test   lint, direction of imports, and the default selection of tests
# make test-ci     these, and the slow tests that CI runs each time
# make test-slow   all slow tests
# Every target sets up .venv by itself.

PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

SELECTION ?= not slow

.PHONY: demo test test-ci test-slow lint clean

demo: $(BIN)/installed
	$(BIN)/kbig demo --out runs/demo --overwrite

test: $(BIN)/installed lint
	$(BIN)/python -m pytest -q -n 2 -m "$(SELECTION)" --durations 30

# In one session, in which tests share what is made for a module.
test-ci:
	$(MAKE) test SELECTION="not slow or ci"

test-slow: $(BIN)/installed
	$(BIN)/python -m pytest -q -n 2 -m slow

lint: $(BIN)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

$(BIN)/installed: setup.py
	rm -f $@
	@if command -v uv > /dev/null; then \
		uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
		uv pip install --python $(BIN)/python -e '.[test]'; \
	else \
		$(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install --quiet --upgrade pip && \
		$(BIN)/python -m pip install --quiet -e '.[test]'; \
	fi
	touch $@

clean:
	rm -rf .venv build dist ./*.egg-info .pytest_cache .ruff_cache
