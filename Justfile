# Homeport's commands. `./just` installs just itself where it is missing.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

cache := env("XDG_CACHE_HOME", home_directory() / ".cache") / "homeport"
# Outside the tree, so that a fresh clone starts with the dependencies already built.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", cache / "target")
export CARGO_TERM_COLOR := env("CARGO_TERM_COLOR", "auto")
bin := CARGO_TARGET_DIR / "debug"
programs := "--server " + bin / "homeport-server" + " --cli " + bin / "homeport"
# What `test` runs on boards beside the whole list on x86_64: the life of a device on each of them.
lives := "--board armv5 life --board armv7 life --board i386 life"

# List the commands
@help:
    just --list --unsorted

# Boot a board, pair it, update it, and show the page (--board B, --once, --port P)
[positional-arguments]
demo *args: (setup "build")
    #!/usr/bin/env bash
    set -euo pipefail
    board=x86_64
    for ((i = 1; i < $#; i++)); do
        if [ "${!i}" = --board ]; then next=$((i + 1)) board=${!next}; fi
    done
    # Beside the server, the agent is compiled, and the mirror is waited for.
    qemu/build supplies --board "$board" >/dev/null &
    supplies=$!
    trap 'kill $supplies 2>/dev/null || true' EXIT
    {{just_executable()}} binaries
    wait $supplies
    exec {{bin}}/demo {{programs}} "$@"

# Everything that a change must pass
test: (setup "build" "test") web lint audit bsp-lint unit postgres-test root-test web-test boards

# What `test` runs on booted boards; beside it, on boards that mostly wait, what the agent costs
[private]
boards: binaries
    #!/usr/bin/env bash
    set -euo pipefail
    {{bin}}/size {{programs}} --check --minutes 2 --lanes 2 &
    size=$!
    trap 'kill $size 2>/dev/null || true' EXIT
    scripts/with-postgres {{bin}}/e2e {{programs}} --board x86_64 {{lives}}
    wait $size
    trap - EXIT

# Check formatting and lints of Rust, TypeScript, shell and Python
lint: web
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings
    npm --prefix server/web run --silent check
    scripts/lint-scripts
    scripts/agent-toml-page --check
    scripts/version >/dev/null

# Check licences, sources, bans and (where the advisory database can be reached) advisories of every dependency
audit:
    scripts/audit

# Check the Yocto layer and the Buildroot tree, with package registries only
bsp-lint: (setup "build" "bsp")
    scripts/bsp-lint

# Check the Yocto layer with trees: yocto OE_CORE=<folder> BITBAKE=<folder> META_RAUC=<folder> [STEPS=parse,sanity,graph,compile,layer]
[positional-arguments]
yocto *trees: (setup "build" "yocto")
    @exec scripts/bsp/yocto.py "$@"

# Unit and integration tests, without boards
unit: web
    cargo test --workspace --all-features --quiet

# The server's tests beside a PostgreSQL that they start, and those that need one
postgres-test: (setup "build" "test") web
    scripts/with-postgres cargo test -p homeport-server --all-features --quiet --lib --test api
    scripts/with-postgres cargo test -p homeport-server --all-features --quiet --lib --test api -- --ignored postgres

# Tests that mount file systems, and so need root: a full disk, and the oldest RAUC that is supported
root-test: (setup "build" "root-test") web
    #!/usr/bin/env bash
    set -euo pipefail
    if [ "$(id -u)" != 0 ]; then
        echo "root-test: these tests mount file systems; run it as root" >&2
        exit 1
    fi
    # In a namespace of its own, no mount outlives the tests.
    unshare --mount cargo test --workspace --all-features --quiet --lib --bins --tests -- --ignored --skip postgres

# Input that libFuzzer makes up, for what reads strangers' and devices' bytes: fuzz (SECONDS for each (TARGET...))
[positional-arguments]
fuzz *args: (setup "build" "fuzz") web
    @exec scripts/fuzz "$@"

# Write the manual pages again, after a change of a command line or of docs/usage/agent-configuration.md
man: web
    HOMEPORT_WRITE_MAN=1 cargo test --quiet -p homeport-cli -p homeport-server --bins manual_page
    scripts/agent-toml-page --write

# The web page in a real Chromium against the real server
web-test: web
    cargo build --quiet -p homeport-server
    npm --prefix server/web run --silent test
    HOMEPORT_SERVER={{bin}}/homeport-server npm --prefix server/web run --silent e2e

# End to end on a booted board: all scenarios, or those named
[positional-arguments]
e2e board *scenarios: (setup "build" "test") binaries
    @shift; exec scripts/with-postgres {{bin}}/e2e {{programs}} --board {{board}} "$@"

# Power cuts at random moments of a board's life: fault power --board B --runs N (--seed S --again repeats them)
[positional-arguments]
fault *args: binaries
    @exec {{bin}}/fault --server {{bin}}/homeport-server --cli {{bin}}/homeport "$@"

# Boot a board and get its console
[positional-arguments]
board name="x86_64" *args: (setup "build")
    @shift; cargo build --quiet -p homeport-tests && exec {{bin}}/board {{name}} "$@"

# Build the web page
web: (setup "build")
    @scripts/build-web

# Build server, command line and test tools as they are tested
binaries: web
    cargo build -p homeport-server -p homeport-cli -p homeport-tests

# Build the agent as it ships, with the oldest compiler it supports: armv5, armv7, i386 or x86_64
build board="x86_64": (setup "build")
    qemu/build agent --board {{board}}

# Measure what the agent costs on all boards, or those named (--check compares with tests/budgets.toml)
[positional-arguments]
size *args: binaries
    @exec {{bin}}/size {{programs}} "$@"

# Check buildroot-ext with a Buildroot tree: BUILDROOT=FOLDER (--only CHECK)
[positional-arguments]
buildroot *args: (setup "build")
    @exec scripts/bsp/buildroot-tree "$@"

# Format Rust and TypeScript
fmt:
    cargo fmt --all
    npm --prefix server/web run --silent format

# Install what Debian offers and a recipe needs
[private]
@setup +sets:
    scripts/setup {{sets}}
