# Builds and checks. `make` alone lists the targets. Needs Rust and Go; what else it needs, it builds or installs:
# Debian packages (e2e/packages.txt) with apt, pinned cargo tools and the lab's control plane below .lab/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# An error says what went wrong in its own words; a panic still has its backtrace.
export RUST_LIB_BACKTRACE := 0

NEXTEST_VERSION := 0.9.151
DENY_VERSION := 0.20.2
FUZZ_VERSION := 0.13.2

TOOLS := .lab/tools
NEXTEST := $(TOOLS)/bin/cargo-nextest-$(NEXTEST_VERSION)
DENY := $(TOOLS)/bin/cargo-deny-$(DENY_VERSION)
FUZZ := $(TOOLS)/bin/cargo-fuzz-$(FUZZ_VERSION)
FUZZ_SECONDS := 60

# Says what comes next.
step = @printf '\n── %s\n' "$(1)"

.PHONY: help
help: ## List the targets
	@echo "Esplanade. Targets:"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: check
check: $(DENY) ## Format, lints, docs, licences, purity of the deciding crates, generated files up to date
	$(call step,format)
	@cargo fmt --all --check
	$(call step,lints)
	@cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
	@cargo clippy --quiet --package esplanade-e2e --test foreign --locked -- -D warnings
	$(call step,API docs)
	@RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --locked
	$(call step,dependencies: licences$(comma) bans$(comma) sources)
	@$(DENY) --locked check --hide-inclusion-graph bans licenses sources
	$(call step,dependencies: advisories)
	@$(advisories)
	@$(MAKE) build
	$(call step,purity and generated files)
	@target/debug/xtask purity
	@target/debug/xtask crds --check
	@helm=$$(target/debug/lab-build | grep '/helm$$'); HELM=$$helm target/debug/xtask manifests --check

.PHONY: test
test: packages build $(NEXTEST) ## Every test, against a real API server and a real kernel
	$(call step,examples in the API docs)
	@cargo test --quiet --workspace --locked --doc
	$(call step,tests)
	@$(NEXTEST) nextest run --workspace --locked

# No sanitizer: the decoder is safe Rust, and without one the pinned toolchain will do. Inputs that reach something new
# go below target/, those that break a promise to node-agent/xfrm/fuzz/artifacts.
.PHONY: fuzz
fuzz: $(FUZZ) ## Arbitrary bytes into the decoder of what the kernel sends; make fuzz FUZZ_SECONDS=600
	$(call step,fuzzing for $(FUZZ_SECONDS) s)
	@mkdir -p target/fuzz-corpus
	@cd node-agent/xfrm && $(CURDIR)/$(FUZZ) run --sanitizer none decode \
	    $(CURDIR)/target/fuzz-corpus fuzz/corpus/decode -- -max_total_time=$(FUZZ_SECONDS)

.PHONY: corpus
corpus: packages build ## Record what the fuzzer starts from anew, on a real kernel
	@target/debug/examples/record-corpus

# Minutes; the shorter ones are part of `make test`, which compares what the table says.
.PHONY: model
model: ## Every order of events in the keying protocol, within larger bounds; writes the table in docs/keying.md
	$(call step,model checking)
	@cargo run --quiet --locked --package esplanade-model-check --bin model
	$(call step,days in virtual time)
	@cargo run --quiet --locked --package esplanade-model-check --bin model courses 100

.PHONY: demo
demo: packages build ## Two nodes, a ping in clear text and then in ESP, captured on the wire
	@target/debug/demo

.PHONY: lab
lab: packages build ## A shell in a running lab; make lab ARGS="--nodes 3 --pods 2"
	@target/debug/lab $(ARGS)

# Tests in modules `long`: the same as in `make test`, with more repeats.
.PHONY: test-long
test-long: packages build $(NEXTEST) ## Hundreds of rotations, kills, flushes and a long outage on a real cluster (half an hour)
	$(call step,long tests)
	@$(NEXTEST) nextest run --workspace --locked --profile long

.PHONY: test-owners
test-owners: build $(NEXTEST) ## The agent beside strongSwan, libreswan and ip xfrm in the same namespaces (minutes)
	$(call step,tests beside other owners)
	@$(NEXTEST) nextest run --package esplanade-e2e --test foreign --locked

# The suites whose newest cloud kernels must all do, the newest also with modules that Debian doesn't build.
KERNELS := bookworm trixie sid sid+modules
LOCKED_DOWN := trixie+lockdown

.PHONY: test-kernels
test-kernels: packages packages-kernels build $(NEXTEST) ## The kernel suite on Debian's cloud kernels in QEMU (minutes)
	@failed=(); \
	for suite in $(KERNELS); do \
	    printf '\n── the kernel of Debian %s\n' "$$suite"; \
	    LAB_KERNEL=$$suite $(NEXTEST) nextest run --package esplanade-xfrm --test kernel --locked || failed+=("$$suite"); \
	done; \
	if (( $${#failed[@]} > 0 )); then echo "the kernel suite fails on $${failed[*]}" >&2; exit 1; fi
	$(call step,end to end on the newest$(comma) with modules of its own: what User-Mode Linux lacks)
	@LAB_KERNEL=$(lastword $(KERNELS)) $(NEXTEST) nextest run --package esplanade-e2e --test manual --locked --test-threads 1 \
	    -E 'test(~where_the_kernel_can) or test(~interface)'
	$(call step,end to end on a kernel that shows keys to nobody)
	@LAB_KERNEL=$(LOCKED_DOWN) $(NEXTEST) nextest run --package esplanade-e2e --test manual --locked -E 'test(~hides)'
	$(call step,what each can do is what docs/kernels.md says)
	@target/debug/xtask kernels --check

.PHONY: bench
bench: packages packages-bench ## The kernel layer's speed beside its floor, ip and a Go library; make bench ARGS="--sizes 1000"
	$(call step,build (minutes the first time))
	@cargo build --quiet --locked -p esplanade-e2e --bin in-kernel --bin lab-build
	@cargo build --quiet --locked --release -p esplanade-bench
	@target/release/bench --in-kernel target/debug/in-kernel \
	    --go "$$(target/debug/lab-build --bench)" --json .lab/bench.json $(ARGS)

# All targets at once, as the tests need them: another selection would resolve other features and build twice.
.PHONY: build
build:
	$(call step,build (minutes the first time))
	@cargo build --quiet --workspace --all-targets --locked
	$(call step,control plane (minutes the first time$(comma) then cached in .lab/bin))
	@target/debug/lab-build > /dev/null

# The Debian packages that the lab uses, those that only kernels in QEMU need, and those that only the benchmark needs.
.PHONY: packages packages-kernels packages-bench
packages packages-kernels packages-bench:
	@missing=(); \
	while read -r package; do \
	    [[ $$(dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null) == installed ]] || missing+=("$$package"); \
	done < e2e/$@.txt; \
	if (( $${#missing[@]} == 0 )); then exit 0; fi; \
	if (( EUID != 0 )); then \
	    echo "Debian packages are missing. Install them as root: apt-get install $${missing[*]}" >&2; exit 1; \
	fi; \
	echo "installing $${missing[*]}"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq; \
	apt-get install -y -qq --no-install-recommends "$${missing[@]}" > /dev/null

comma := ,

# The advisory database comes from a git host, which not every machine reaches. Never passed over in silence.
define advisories
log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
if timeout 120 $(DENY) --locked fetch db > "$$log" 2>&1; then \
    $(DENY) --locked check --hide-inclusion-graph --disable-fetch advisories; \
else \
    echo "NOT CHECKED: the RustSec advisory database could not be fetched:"; \
    grep . "$$log" | tail -n 1; \
fi
endef

# A tool's own speed matters less than how long it takes to build: nothing is optimised.
install = CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_DEBUG=0 cargo install --quiet --force --locked --root $(TOOLS)

$(NEXTEST):
	$(call step,installing cargo-nextest $(NEXTEST_VERSION) (once$(comma) a few minutes))
	@$(install) --no-default-features --features default-no-update --version $(NEXTEST_VERSION) cargo-nextest
	@mv $(TOOLS)/bin/cargo-nextest $@

$(FUZZ):
	$(call step,installing cargo-fuzz $(FUZZ_VERSION) (once$(comma) a minute))
	@$(install) --version $(FUZZ_VERSION) cargo-fuzz
	@mv $(TOOLS)/bin/cargo-fuzz $@

$(DENY):
	$(call step,installing cargo-deny $(DENY_VERSION) (once$(comma) a few minutes))
	@$(install) --version $(DENY_VERSION) cargo-deny
	@mv $(TOOLS)/bin/cargo-deny $@
