# Each target makes .venv-test from requirements-test.lock if it is not there or the lock changed.
# More words for pytest: `make test ARGS="-k funding"`.
venv := bash .ci/venv.sh .venv-test requirements-test.lock && .venv-test/bin/

# The fuzzer is not in the lock: it is built against one Python, and nothing of ours needs it.
.PHONY: test lint fuzz coverage golden scenario-audit storm rallies bench decision-diff release-journal recorded config-docs lock

test:           ; $(venv)python -m pytest -n auto $(ARGS)
lint:           ; $(venv)ruff check --output-format concise .; ruff=$$?; .venv-test/bin/mypy && exit $$ruff
coverage:       ; $(venv)coverage run --source carry/core -m pytest tests/core tests/scenarios $(ARGS) && .venv-test/bin/coverage report --fail-under 100
recorded:       ; bash .ci/venv.sh .venv-test requirements-test.lock && env CARRY_RECORDED_HOURS=720 .venv-test/bin/python -m pytest tests/e2e/test_recorded.py -s -k real $(ARGS)
golden:         ; $(venv)python -m pytest tests/scenarios --update-golden $(ARGS); git diff --stat -- tests/scenarios
scenario-audit: ; $(venv)python -m tests.scenarios.audit $(ARGS)
storm:          ; $(venv)carry storm --seeds 0:$(or $(SEEDS),200) --jobs $$(nproc) $(ARGS)
rallies:        ; $(venv)python -m carry.storm.rallies $(ARGS)
bench:          ; $(venv)python -m tests.bench $(ARGS)
decision-diff:  ; bash .ci/venv.sh .venv-test requirements-test.lock && PYTHON=$$(pwd)/.venv-test/bin/python bash .ci/decision-diff.sh "$(BASE)" $(ARGS)
release-journal: ; $(venv)python -m tests.research.releases
config-docs:    ; $(venv)python -m carry.shell.config_docs
lock:           ; bash .ci/lock.sh $(ARGS)
fuzz:           ; bash .ci/venv.sh .venv-fuzz requirements-test.lock && .venv-fuzz/bin/pip install -q atheris==3.0.0 && .venv-fuzz/bin/python .ci/fuzz.py -max_total_time=$(or $(SECONDS),600) $(ARGS)
