# What a person types; `make help` lists it. Everything runs in .venv, which the first call makes and fills.

BIN := .venv/bin
# The ready comparison of `make sweep`.
SWEEP ?= model=rnn,irnn,lstm,gru,min_gru,lru data=sine,classification seed=0,1,2 hydra/launcher=local
# What `make notebook` opens, and what there is.
NB ?= story
notebooks = $(patsubst docs/%.ipynb,%,$(wildcard docs/*.ipynb))
# Where `make report` and `make tensorboard` look.
DIR ?= outputs

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install train sweep evaluate tensorboard report test test-all fuzz lint format typecheck check mutants bench peers docs notebook clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile
	@echo 'ARGS="…" goes to the command: make train ARGS="model=lstm data=tokens", make test ARGS="-k gru".'

install: .venv/installed ## .venv with the project and its tools; EXTRAS=datasets,export adds extras, EXTRAS=all every one
	@echo "installed in .venv:$$(sed 1d .venv/installed | xargs printf ' %s')"

# ---- experiments

# Commands that rnnlab prints are to be pasted into the shell that called make, which make -C leaves for another directory.
train sweep evaluate report: export RNNLAB_CALLED_FROM := $(PWD)

train: .venv/installed ## train a GRU on sine waves, or what ARGS says, and show what it learned
	@$(BIN)/rnnlab train $(ARGS)
	@[ "$$(command -v rnnlab)" = '$(CURDIR)/$(BIN)/rnnlab' ] || \
	  { place='$(CURDIR)/'; [ '$(PWD)' != '$(CURDIR)' ] || place=; \
	  case $$place in *' '*) quote="'" ;; esac; \
	  echo "rnnlab is not on your PATH yet; this puts it there: source $$quote$${place}$(BIN)/activate$$quote"; }

sweep: .venv/installed ## train several models and rank them: SWEEP="model=rnn,gru seed=0,1,2"
	@$(BIN)/rnnlab train -m $(SWEEP) $(ARGS)

evaluate: .venv/installed ## test a trained run again: RUN=outputs/…, else the newest that is done
	@run='$(RUN)'; \
	if [ -z "$$run" ]; then \
	  done=$$(grep -rls --include=status.json '"state": *"done"' outputs); \
	  [ -n "$$done" ] || { echo "outputs/ holds no run that is done: make train first, or name one by RUN=…"; exit 2; }; \
	  run=$$(dirname "$$(ls -t $$done | head -n 1)"); \
	fi; \
	$(BIN)/rnnlab evaluate "$$run" $(ARGS)

report: .venv/installed ## runs and sweeps compared in one table: DIR=outputs
	@$(BIN)/rnnlab report '$(DIR)' $(ARGS)

tensorboard: .venv/installed ## curves, figures and hyperparameters in a browser: DIR=outputs
	@$(BIN)/tensorboard --logdir '$(DIR)' $(ARGS)

# ---- the project itself

# One thread a process: the nets of the tests are too small for more.
test test-all fuzz: export OMP_NUM_THREADS := 1

test: .venv/installed ## the fast tests
	@$(BIN)/pytest -n 2 -m "not slow" $(ARGS)

test-all: .venv/installed ## all tests
	@$(BIN)/pytest -n 2 $(ARGS)

fuzz: export RNNLAB_FUZZ_CASES = $(or $(N),1000)
fuzz: export RNNLAB_FUZZ_SEED = $(or $(SEED),0)
fuzz: .venv/installed ## wrong configs, overrides and files, N=1000 of each kind, from SEED=0
	@$(BIN)/pytest -n 2 tests/fuzz $(ARGS)

lint: .venv/installed ## ruff, and the imports that pyproject.toml allows
	@$(BIN)/ruff check --quiet --output-format concise
	@$(BIN)/ruff format --quiet --check || { echo "ruff would format these files otherwise: make format"; exit 1; }
	@said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said"; exit 1; }
	@echo "lint: nothing to say"

format: .venv/installed ## the files as ruff wants them
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format

typecheck: .venv/installed ## mypy
	@$(BIN)/mypy

check: lint typecheck ## what the pre-commit hooks run: lint and typecheck

mutants: ## small faults put into the source; the tests must notice them: ARGS="--sample 300 --seed 0"
	@$(MAKE) --silent --no-print-directory .venv/installed EXTRAS=mutation
	@$(BIN)/python tests/mutants.py $(ARGS)

bench: .venv/installed ## the measurements of benchmarks/
	@$(BIN)/python -m benchmarks $(ARGS)

peers: .venv/installed ## build/peers: an environment of what is measured beside (Keras, darts, neuralforecast)
	@$(BIN)/python -c 'from benchmarks.end_to_end import peers; print(peers())'

docs: ## the site of docs/ in build/site
	@$(MAKE) --silent --no-print-directory .venv/installed EXTRAS=docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml
	@echo "build/site/index.html"

# Copies, so that what you try out and what they show is yours.
notebook: ## the notebooks of docs/ in a browser, as copies in outputs/notebooks: NB=own_series
	@[ -e 'docs/$(NB).ipynb' ] || { echo "NB=$(NB): no such notebook; there are $(notebooks)"; exit 2; }
	@$(MAKE) --silent --no-print-directory .venv/installed EXTRAS=notebook
	@mkdir -p outputs/notebooks && for file in docs/*.ipynb; do \
	  copy=outputs/notebooks/$${file##*/}; [ -e "$$copy" ] || cp "$$file" "$$copy"; done
	@$(BIN)/jupyter lab 'outputs/notebooks/$(NB).ipynb' $(ARGS)

clean: ## away with caches and build results; outputs/ stays
	@rm -rf build dist mutants .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	@find . \( -path ./.venv -o -path ./outputs \) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "caches and build results are gone"

# ---- .venv
#
# .venv/installed stands for a complete installation: this checkout's place, then the extras that it has. It is older
# than pyproject.toml or constraints.txt, or lacks an extra of EXTRAS: pip runs. It lies under its other name,
# .venv/installing, or names another place: a call was killed or the checkout has moved, and .venv is made anew.

EXTRAS ?=
# What the pins of constraints.txt have wheels for, the best known first.
PYTHONS := 3.11 3.12 3.13 3.14 3.10
comma := ,
known := $(shell awk '/^\[/ {on = /optional-dependencies/} on && /^[a-z]+ *= *\[/ {print $$1}' pyproject.toml)
place := $(shell sed -n 1p .venv/installed 2>/dev/null)
has := $(filter $(known),$(shell sed 1d .venv/installed 2>/dev/null))
asked := $(subst $(comma), ,$(EXTRAS))
wanted := $(sort dev $(has) $(if $(filter all,$(asked)),$(known),$(asked)))
unknown := $(filter-out $(known),$(wanted))
ifneq "$(place) $(has)" "$(CURDIR) $(wanted)"
.venv/installed: incomplete
endif
.PHONY: incomplete

.venv/installed: pyproject.toml constraints.txt
	$(if $(unknown),$(error EXTRAS: there is no '$(unknown)', only $(filter-out dev,$(known))))
	@if [ -e .venv/installing ] || { [ -e .venv/installed ] && [ '$(place)' != '$(CURDIR)' ]; } \
	  || ! $(BIN)/python -c 'import pip' 2>/dev/null; then $(make_venv); fi
	@echo "installing $(wanted) into .venv: minutes at first (log: .venv/pip.log)"
	@rm -f .venv/installed; printf '%s\n' '$(CURDIR)' $(wanted) >.venv/installing
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip install \
	  -c constraints.txt -e '.[$(subst $() ,$(comma),$(wanted))]' >.venv/pip.log 2>&1 \
	  || { tail -n 15 .venv/pip.log; rm -f .venv/installing; echo "pip failed; all it said is in .venv/pip.log"; exit 1; }
	@mv .venv/installing .venv/installed

# Debian and Ubuntu ship venv and ensurepip apart from Python.
define make_venv
found=; python=; \
for p in $(or $(PYTHON),python3 $(addprefix python,$(PYTHONS))); do \
  v=$$($$p -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
  case ' $(PYTHONS) ' in *" $$v "*) ;; *) found="$$found $$p ($$v)"; continue;; esac; \
  if $$p -c 'import ensurepip, venv' 2>/dev/null; then python=$$p; break; fi; \
  found="$$found $$p ($$v, without venv: apt install python$$v-venv)"; \
done; \
[ -n "$$python" ] || { echo "rnnlab needs a Python of $(sort $(PYTHONS)); found:$${found:- none}." \
  "Install one, or name it: make PYTHON=/path/to/python3"; exit 1; }; \
echo "making .venv with $$python ($$v)"; \
rm -rf .venv/bin .venv && mkdir .venv && touch .venv/installing && $$python -m venv .venv || exit 1
endef
