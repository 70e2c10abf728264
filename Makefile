# Each command runs in the test stand, which first brings what is missing: Electrum, a node, a server, the tools.
RUN = python3 -m tests.stand run
PEERS_FLAG = $(if $(filter rust,$(PEERS)),--peers)
WINDOW_FLAG = $(if $(filter 0,$(WINDOW)),--no-window)

# What starts Electrum or other programs: levels 6 to 9 of the tests (CONTRIBUTING.md), and those of the stand.
SLOW = tests/app tests/wallet tests/gui tests/interop tests/stand tests/test_assumptions.py tests/test_demo.py tests/test_zip.py

# What is pure; `make test` wants every line and branch of it covered.
CORE = tests/wire tests/bip78 tests/session

# What only computes takes a worker for each core; what waits for other programs bears more.
FAST = --numprocesses=auto

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: ## a whole payjoin on a private test network, in a window if there is a display (WINDOW=0: none; PEERS=rust)
	@$(RUN) $(PEERS_FLAG) -- python -m tests.demo $(PEERS_FLAG) $(WINDOW_FLAG)

# The core first, by itself: it is measured, line and branch. Then all the rest, several files at a time.
test: lint ## everything that is tested; CI runs this
	$(RUN) --peers -- sh -ec 'coverage erase; coverage run -m pytest $(CORE) $(FAST); coverage combine -q; coverage report'
	$(RUN) --peers -- python -m pytest $(addprefix --ignore=,$(CORE)) --numprocesses=4 --dist=loadfile --no-loadscope-reorder

check: lint ## the fast tier, in minutes: what each commit passes
	$(RUN) -- python -m pytest $(addprefix --ignore=,$(SLOW)) $(FAST)

lint: ## format, lint and types
	$(RUN) -- sh -ec 'ruff format --check; ruff check; mypy'

fix: ## let ruff repair what it can
	$(RUN) -- sh -ec 'ruff format; ruff check --fix'

# Offscreen, or where DISPLAY is set on a real X11 screen: `xvfb-run make screenshots` uses Qt's xcb platform.
screenshots: ## build/screenshots: the window in each state, light, dark, and with long words
	$(RUN) -- sh -ec 'for theme in light dark long; do python -m tests.gui.screenshots build/screenshots $$theme; done'

pictures: screenshots ## docs/pictures: those of README and user guide, anew
	$(RUN) -- python -m tests.gui.pictures build/screenshots docs/pictures

zip: ## dist/payjoin-<version>.zip, with its SHA-256
	python3 setup.py zip

bench: ## the benchmarks, side by side with payjoin-cli (JSON=FILE: the figures there too)
	$(RUN) --peers -- python -m bench $(if $(JSON),--json $(JSON))

mailroom: ## the test directory and relay on loopback, to play with
	$(RUN) -- python -m tests.mailroom

.PHONY: help demo test check lint fix zip bench mailroom screenshots pictures
