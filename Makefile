# Two commands for a newcomer: make demo, make test. Needs Python >= 3.11 and network for pip.
PYTHON ?= python3
BIN := .venv/bin
FOLDERS := broker catalog cli flows pilot_agent tasks
# Each worker starts services of its own, and takes tests of the slowest one when it has none left.
WORKERS ?= logical
PARALLEL = -n $(WORKERS) --maxprocesses 4
# Images of CI set it; each of the many processes that tests start would compile us anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test acceptance lint services rucio clean

install: .venv/installed build/ns

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "prodchain needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[physics,storages,provenance,dev]'
	touch $@

# One name for each folder, for type checkers that do not follow editable installs.
build/ns:
	mkdir -p build/ns/prodchain
	for folder in $(FOLDERS); do ln -sfn ../../../$$folder build/ns/prodchain/$$folder; done

demo: install
	$(BIN)/prodchain demo

test: install
	$(BIN)/python -m pytest -m 'not acceptance' $(PARALLEL) --dist worksteal

acceptance: install
	$(BIN)/python -m pytest -m acceptance $(PARALLEL) --dist loadgroup

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	MYPYPATH=build/ns $(BIN)/mypy -p prodchain
	$(BIN)/lint-imports

# What some tests need from Debian; as root. Without it those tests say that they did not run.
services:
	apt-get update --quiet
	apt-get install --yes --quiet --no-install-recommends chromium chromium-driver \
		xrootd-server xrootd-server-plugins xrootd-client xrootd-client-plugins xrootd-plugins \
		openssh-client openssl curl python3-gfal2 gfal2-plugin-http wrk
	mkdir -p build/openssh && cd build/openssh && apt-get download --quiet openssh-server libwrap0 && \
		for package in *.deb; do dpkg --extract $$package . && rm $$package; done

# A Rucio server for the tests of the external catalog, in an environment of its own: it pins what we do not.
rucio: build/rucio-venv/.installed-41.5.1

build/rucio-venv/.installed-41.5.1:
	$(PYTHON) -m venv --clear build/rucio-venv
	build/rucio-venv/bin/pip install --quiet --disable-pip-version-check rucio==41.5.1 'psycopg[binary]>=3.2' gunicorn
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
