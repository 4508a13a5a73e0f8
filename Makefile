# Every target builds .venv first where it is missing or out of date; nothing but a Python is needed.

BIN := .venv/bin
STAMP := .venv/.complete

.PHONY: venv run web test lint bench test-clients format lock clean

venv: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@scripts/build-venv

# PORT=… overrides the port that config.yaml names.
run: venv
	$(BIN)/cliproxy serve --config config.yaml $(if $(PORT),--port $(PORT))

# With the live view of mitmweb.
web: venv
	$(BIN)/cliproxy serve --web --config config.yaml $(if $(PORT),--port $(PORT))

test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo

bench: venv
	$(BIN)/python -m bench

# The real command-line tools and SDKs against the gateway. THROUGH=scale-out: against two of them behind nginx.
test-clients: venv
	$(BIN)/python tests/clients/run.py $(if $(THROUGH),--through $(THROUGH)) $(if $(UPSTREAMS),--upstreams $(UPSTREAMS))

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Resolves pyproject.toml anew; needs both Python 3.12 and 3.13.
lock:
	$$(scripts/find-python) scripts/lock.py

clean:
	rm -rf .venv .venv.lock .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
