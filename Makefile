# kmodlab's entry points; `make help` lists them. Each prepares this machine first (setup.sh).
KERNELS ?=
MODULES ?=
ONLY ?=
SECUREBOOT ?=
QUICK ?=
FRESH ?=
KEEP ?=
CHECKS ?=
FAULTS ?=
COVERAGE ?=
STRESS ?=
SCENARIO ?= default
REFRESH ?=
BOARDS ?=
SERIES ?=
DEADLINE ?=
CHANGED ?=
SHARD ?=
BALANCE ?=
MAIL ?=

run := .venv/bin/
# An option that is switched on: 0, no, off and false are not.
on = $(filter-out 0 no off false,$(1))
modules := $(or $(MODULES),examples)

# What is asked of a run, in the command's words.
asked = --kernels "$(KERNELS)" --modules "$(modules)" --only "$(ONLY)" $(if $(call on,$(SECUREBOOT)),--secureboot) $(if $(call on,$(QUICK)),--quick) $(if $(call on,$(FRESH)),--fresh) $(if $(call on,$(CHECKS)),--checks) $(if $(call on,$(FAULTS)),--faults) $(if $(call on,$(COVERAGE)),--coverage) $(if $(BOARDS),--boards "$(BOARDS)")

.DEFAULT_GOAL := help
.PHONY: help setup matrix quick test lint unit integration molecule nightly mutants lock generated bench report clean distclean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##/  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

setup:
	@./setup.sh

matrix: setup  ## prove modules on kernels: KERNELS="6.1 6.12", MODULES=DIR, ONLY="hello-1 chardev", SECUREBOOT=1, QUICK=1, FRESH=1, KEEP=1, CHECKS=1, FAULTS=1, COVERAGE=1, STRESS=200, REFRESH=1, BOARDS=FILE, SHARD=2/5
	@$(run)kmodlab matrix $(asked) $(if $(call on,$(KEEP)),--keep) $(if $(STRESS),--stress "$(STRESS)") $(if $(call on,$(REFRESH)),--refresh) $(if $(SHARD),--shard "$(SHARD)") $(if $(BALANCE),--balance "$(BALANCE)")

quick: KERNELS := um-6.12
quick: matrix  ## the same on User-Mode Linux alone: a kernel that checks everything, at the processor's own speed

test: lint unit integration molecule  ## every test that needs no more than this machine
	@$(MAKE) --no-print-directory molecule SCENARIO=secureboot KERNELS=6.12

lint: setup  ## style, types and data, without running anything
	$(run)ruff check .
	$(run)ruff format --check .
	$(run)mypy
	$(run)lint-imports --no-logo
	$(run)yamllint .
	$(run)ansible-lint --offline -q
	$(run)codespell
	$(run)clang-format --dry-run --Werror --style=file:examples/.clang-format $$(find examples roles tests -name '*.[ch]')
	$(run)kmodlab lint-c

unit: setup  ## the fast tests, without a VM; hostile code as root and as an ordinary user
	$(run)pytest -q -n logical tests/unit tests/hostile

integration: setup  ## faulty modules on a real kernel: each must get its own true verdict
	$(run)pytest -q -m 'not nightly' tests/integration

molecule: setup  ## one Molecule scenario in real VMs: SCENARIO=default, matrix, classroom, secureboot (KERNELS="6.12"), enrolment, nightly
	PATH="$(CURDIR)/.venv/bin:$$PATH" KERNELS="$(KERNELS)" $(run)molecule test --scenario-name $(SCENARIO)

nightly: setup  ## everything, for hours, compared with the nights before: SERIES=DIR, DEADLINE=6h, CHANGED=1, MAIL=ADDRESS, and the matrix's words (docs/nightly.md)
	@status=0; $(run)pytest -q tests/nightly || status=1; $(run)python tests/mutants/mutate.py || status=1; $(run)pytest -q -m nightly tests/integration || status=1; \
	for scenario in classroom enrolment; do $(MAKE) --no-print-directory molecule SCENARIO=$$scenario || status=1; done; \
	$(run)kmodlab matrix --quick --checks --kernels "$(KERNELS)" --modules "$(modules)" || status=1; \
	$(run)kmodlab nightly $(asked) --refresh --fleet nightly --stress "$(or $(STRESS),200)" $(if $(SERIES),--series "$(SERIES)") $(if $(DEADLINE),--deadline "$(DEADLINE)") $(if $(call on,$(CHANGED)),--changed) $(if $(MAIL),--mail "$(MAIL)") && exit $$status

mutants: setup  ## put faults into the examples and see whether their tests notice: ONLY="chardev sleep", KERNELS="6.12-x86_64"; half an hour
	KERNELS="$(KERNELS)" $(run)python tests/mutants/mutate.py $(ONLY)

lock:  ## make requirements.lock of requirements.txt and what a checkout needs beside it, and the role nightly_job's of the former alone: exact versions and hashes
	python3 -m venv .cache/lock && .cache/lock/bin/pip install --quiet uv
	@set -e; export UV_DEFAULT_INDEX="$$(.cache/lock/bin/pip config get global.index-url 2>/dev/null)" SSL_CERT_FILE="$$(.cache/lock/bin/pip config get global.cert 2>/dev/null)"; \
	compile=".cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate"; \
	$$compile --output-file requirements.lock --group dev requirements.txt; \
	: virt-firmware names crypt-r for a program that the lab does not use, and it would have to be compiled; \
	$$compile --no-emit-package crypt-r --constraint requirements.lock --output-file roles/nightly_job/files/requirements.lock requirements.txt

generated: setup  ## what is made of the code and kept: the JSON Schemas and the manual page
	@for name in assignment boards catalog kernels mutants results; do $(run)kmodlab schema $$name >kmodlab/schemas/$$name.json; done
	@$(run)kmodlab manual >docs/kmodlab.1

bench: setup  ## what the lab costs, as ratios to what kernel and compiler cost themselves
	$(run)kmodlab bench --kernels "$(KERNELS)" --modules "$(modules)"

report: setup  ## show the newest results again
	@$(run)kmodlab report

clean:  ## stop this checkout's VMs, remove its reports
	@[ ! -x $(run)kmodlab ] || $(run)kmodlab stop
	rm -rf reports .hypothesis .pytest_cache .mypy_cache .ruff_cache

distclean: clean  ## and the caches and the virtual environment
	@[ ! -x $(run)kmodlab ] || $(run)kmodlab forget
	rm -rf .venv .cache
