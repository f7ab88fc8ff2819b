# `make demo` and `make test` are all that a fresh machine with Swift needs.

.DEFAULT_GOAL := help
.PHONY: help demo install uninstall docs examples python bench plots bench-tools plain inspection test simulate matrix mutants model \
	servers servers-matrix hostile fuzz fuzzers sanitize storm chaos failovers reshardings soak lint format clean swift dependencies

SOURCES := Package.swift Sources Tests Verification Benchmarks/Package.swift Benchmarks/Benchmarks Examples/Package.swift Examples/Quickstart \
	Examples/Service/Package.swift Examples/Service/Sources Examples/Stream Examples/Worker
# What is shown or measured speaks no TLS and is built without the trait: BoringSSL is half of a first build. It has a build
# folder of its own, so that neither kind of build undoes the other.
PLAIN := .build/plain
BUILD := swift build -c release --scratch-path $(PLAIN) --disable-default-traits --product
# Further arguments: of the demo, of every `swift build` and `swift test`.
ARGS ?=
SWIFTFLAGS ?=
# Of `make test`: how many busy loops run beside the tests.
BUSY ?= 0
# Of `make simulate`: how many seeds and from which on, or the one to replay.
SEEDS ?= 10000
FIRST ?= 1
SEED ?=
# Of `make hostile`: how many sessions; SEED is the first one's.
SESSIONS ?= 20000
# Of `make model`: what defines the one model to check instead of all, and how many megabytes a model may take.
MODEL ?=
MEMORY ?=
# Of `make servers-matrix`: which version, instead of all.
SERVER ?=
# Of `make matrix`: the cells to play instead of all, by their names.
CELLS ?=
# Of `make examples`: which, instead of all.
EXAMPLE ?=
# Of `make fuzz`: how long each harness runs, or which of them to replay with what.
SECONDS ?= 60
HARNESS ?=
INPUT ?=
# Of `make sanitize`: thread, address, or both.
SANITIZER ?= thread address
# Of `make storm`: how many callers to resume in each of its storms.
RESUMES ?= 10000000
# Of `make chaos`: for how long.
MINUTES ?= 15
# Of `make failovers` and `make reshardings`: how many.
FAILOVERS ?= 6
RESHARDINGS ?= 10
# Of `make install`: where to, and below what, where a package is put together.
PREFIX ?= /usr/local
DESTDIR ?=

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: dependencies ## build the tool and show it at work, on a private Redis (ARGS="..." for its options)
	$(BUILD) singleflight
	$(PLAIN)/release/singleflight demo $(ARGS)

docs: dependencies ## build the documentation of every product into .build/docs; a warning is an error
	scripts/docs $(SWIFTFLAGS)

examples: dependencies ## build and run the examples (EXAMPLE="Cron Worker": some of them); installs PostgreSQL if it is missing
	SWIFTFLAGS="$(SWIFTFLAGS)" scripts/examples $(EXAMPLE)

python: dependencies ## test the client in Python against the protocol's vectors, and beside workers in Swift
	swift build --product singleflight $(SWIFTFLAGS)
	scripts/python .build/debug/singleflight

install: dependencies ## build the tool with TLS, and install it with manual page and completion (PREFIX=/usr/local, DESTDIR)
	swift build -c release --product singleflight $(SWIFTFLAGS)
	scripts/install-tool "$$(swift build -c release --show-bin-path $(SWIFTFLAGS))/singleflight" "$(PREFIX)" "$(DESTDIR)"

uninstall: ## remove what `make install` installed
	rm -f $(addprefix "$(DESTDIR)$(PREFIX)"/,bin/singleflight share/man/man1/singleflight.1 \
		share/bash-completion/completions/singleflight share/zsh/site-functions/_singleflight \
		share/fish/vendor_completions.d/singleflight.fish)

bench: bench-tools ## measure what docs/performance.md promises, against its budgets (QUICK=1: shorter, and milder)
	$(if $(QUICK),,swift package --package-path Benchmarks benchmark --no-progress)
	$(PLAIN)/release/lab bench --baselines .build/bench --json .build/bench/figures.json $(if $(QUICK),--quick) $(ARGS)

plots: bench-tools ## measure how cost grows, and draw docs/plots from it (some four minutes; QUICK=1 for a glance)
	$(PLAIN)/release/lab bench --scaling --json .build/bench/scaling.json $(if $(QUICK),--quick) >/dev/null
	scripts/plot .build/bench/scaling.json

bench-tools: dependencies
	$(BUILD) lab
	$(BUILD) singleflight
	mkdir -p .build/bench
	cc -O2 -o .build/bench/baseline Benchmarks/Baselines/baseline.c -lhiredis
	cc -O2 -shared -fPIC -o .build/bench/allocations.so Benchmarks/Baselines/allocations.c

plain: dependencies ## see that a build without the trait TLS holds no BoringSSL, and refuses rediss:// in a clear sentence
	$(BUILD) singleflight
	scripts/check-plain $(PLAIN)/release/singleflight

inspection: dependencies ## list 100 000 leases among a million other keys, and see what that costs the server
	$(BUILD) singleflight
	scripts/check-inspection $(PLAIN)/release/singleflight

test: swift ## build and run all tests (BUSY=4: beside four busy loops; ARGS="--filter Exec": some of them)
	@scripts/install-dependencies openssl
	swift build --build-tests $(SWIFTFLAGS)
	@BUSY=$(BUSY) scripts/test $(SWIFTFLAGS) $(ARGS)

simulate: swift ## run simulations (SEEDS=10000 FIRST=1), or one with all that happened (SEED=42)
	$(BUILD) lab
	$(PLAIN)/release/lab simulate $(if $(SEED),$(SEED),$(FIRST) $(SEEDS))

matrix: dependencies ## play flights in every kind of trouble, in this process and in others (CELLS="..." for some)
	swift build --product lab
	.build/debug/lab matrix $(CELLS)

mutants: swift ## turn on each bug that is planted in the sources, and see the simulation catch it
	scripts/check-mutants

model: swift ## check the protocol's model exhaustively, and that its broken variants fail (MODEL="-DTAKEOVER -DLOSSES=3" MEMORY=12000)
	scripts/install-dependencies spin
	MEMORY=$(MEMORY) scripts/check-model $(MODEL)

servers: dependencies ## put a Redis into every bad state, and print what callers get in each
	@mkdir -p .build/reports
	rm -f .build/reports/servers.md
	SINGLEFLIGHT_SERVER_TABLE=.build/reports/servers.md swift test --filter 'ServerStateTests|HerdTests'
	@cat .build/reports/servers.md

servers-matrix: dependencies ## play a short pass against Redis 6.2 to 8.2 and Valkey 8 and 9 (SERVER="valkey-9.1": one of them)
	SWIFTFLAGS="$(SWIFTFLAGS)" scripts/servers-matrix $(SERVER)

hostile: dependencies ## 20 000 sessions with servers that answer with anything but what they should (SESSIONS=1 SEED=42)
	@mkdir -p .build/reports && rm -f .build/reports/hostile.*
	SINGLEFLIGHT_HOSTILE_SESSIONS=$(SESSIONS) $(if $(SEED),SINGLEFLIGHT_HOSTILE_SEED=$(SEED)) \
		SINGLEFLIGHT_HOSTILE_RUNNING=.build/reports/hostile swift test --filter HostileServerTests \
		|| { echo "the sessions that ran last:"; cat .build/reports/hostile.*; exit 1; } >&2

fuzz: dependencies ## fuzz what reads bytes from elsewhere (SECONDS=60 for each; HARNESS=RESP INPUT=file: replay)
	scripts/fuzz $(if $(INPUT),--replay $(HARNESS) $(INPUT),$(SECONDS) $(HARNESS))

fuzzers: dependencies ## plant bugs in a copy of the sources, and see the harnesses find each (SECONDS=60 for each at most)
	scripts/check-fuzzers $(SECONDS)

sanitize: dependencies ## run tests under ThreadSanitizer and AddressSanitizer (SANITIZER=thread: one of them)
	scripts/sanitize $(SANITIZER)

storm: swift ## cancel callers at random, and see each resumed exactly once (RESUMES=10000000, SEED=1)
	$(BUILD) lab
	$(PLAIN)/release/lab storm $(RESUMES) $(or $(SEED),1)

chaos: dependencies ## worker processes, and trouble every second (MINUTES=15, SEED=1); goes on where it was interrupted
	$(BUILD) lab
	$(PLAIN)/release/lab chaos --minutes $(MINUTES) --directory .build/chaos $(if $(SEED),--seed $(SEED)) \
		--commit "$$(git describe --always --dirty 2>/dev/null || echo unknown)" $(ARGS)

failovers: dependencies ## worker processes on a primary under Sentinel, which fails over under load (FAILOVERS=6, SEED=1)
	$(BUILD) lab
	$(PLAIN)/release/lab failovers --failovers $(FAILOVERS) $(if $(SEED),--seed $(SEED)) $(ARGS)

reshardings: dependencies ## worker processes on a cluster, whose slots move and nodes fail under load (RESHARDINGS=10, SEED=1)
	$(BUILD) lab
	$(PLAIN)/release/lab reshardings --reshardings $(RESHARDINGS) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: dependencies ## the long tier, all of it: hours; goes on where it was interrupted (MINUTES=60: of `make chaos`)
	scripts/soak MINUTES=$(MINUTES) SECONDS=$(SECONDS) RESUMES=$(RESUMES)

lint: swift ## check the format of all sources
	swift format lint --strict --parallel --recursive $(SOURCES)

format: swift ## format all sources
	swift format --in-place --parallel --recursive $(SOURCES)

clean: swift ## remove everything that was built
	swift package clean

swift:
	@command -v swift >/dev/null || { echo "swift was not found in PATH; install Swift 6.2 or later: https://www.swift.org/install" >&2; exit 1; }

dependencies: swift
	@scripts/install-dependencies
