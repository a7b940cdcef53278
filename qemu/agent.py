"""The agent as it ships, built for one board.

The compiler is the oldest that the agent promises to support, from the toolbox, which has it for every board. With
HOMEPORT_COMPILER=host it is this machine's: `rustup target add TRIPLE` and a cross gcc as linker are up to you then, and
cargo decides what is built again.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cache
import process
import toolbox
from board import Board
from steps import BuildError, step

# What the agent is made from. The workspace's other members are only named in its manifest.
SOURCES = ["agent", "ota", "protocol", "system"]
MANIFESTS = ["Cargo.toml", "Cargo.lock"]

# Settings of cargo's that are part of what is asked for.
SETTINGS = ("CARGO_PROFILE_", "SOURCE_DATE_EPOCH")

# Settings for other compilers than the toolbox's, which would change what comes out.
FOREIGN_SETTINGS = ("AR", "CC", "CFLAGS", "CARGO_BUILD_", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_", "CXX", "HOST_", "RUSTC",
                    "RUSTFLAGS", "TARGET_")  # fmt: skip

BINUTILS = {
    "armv5te-unknown-linux-gnueabi": "arm-linux-gnueabi",
    "armv7-unknown-linux-gnueabihf": "arm-linux-gnueabihf",
    "i686-unknown-linux-gnu": "i686-linux-gnu",
    "x86_64-unknown-linux-gnu": "x86_64-linux-gnu",
}

# Packed relocations take a tenth of the room; glibc has understood them since 2.36, binutils' ARM linker does not yet.
PACKED_RELOCATIONS = "-C link-arg=-Wl,-z,pack-relative-relocs"


def agent(board: Board) -> Path:
    """The program. What was built from the same sources with the toolbox's compiler is used again."""
    if os.environ.get("HOMEPORT_COMPILER", "toolbox") == "host":
        return _cargo(board, dict(os.environ), lambda words: words)
    inputs = _inputs(board)

    def make(draft: Path) -> None:
        environment = {name: value for name, value in toolbox.environment().items() if not name.startswith(FOREIGN_SETTINGS)}
        # Cargo has one place for the results of all clones.
        with step(f"building the agent for {board.name}"), cache.locked(f"target-device-{board.rust_target}"):
            _forget(board, environment)
            shutil.copy2(_cargo(board, environment, _enter(board)), draft)
        if _inputs(board).short() != inputs.short():
            raise BuildError("the agent's sources were changed while it was built: build it again")

    return cache.entry("agent", inputs, make) / "homeport-agent"


def _inputs(board: Board) -> cache.Digest:
    digest = cache.Digest().text("target", board.rust_target).file("recipe", Path(__file__))
    digest.file("toolbox", toolbox.ensure(toolbox.compiler(board.architecture)) / "var/lib/dpkg/status")
    for name in MANIFESTS:
        digest.file(name, toolbox.REPOSITORY / name)
    for name in SOURCES:
        digest.tree(name, toolbox.REPOSITORY / name)
    for folder in [toolbox.REPOSITORY / ".cargo", _cargo_home()]:
        if (folder / "config.toml").exists():
            digest.file("configuration", folder / "config.toml")
    for name in sorted(name for name in os.environ if name.startswith(SETTINGS)):
        digest.text(name, os.environ[name])
    return digest


def _forget(board: Board, environment: dict[str, str]) -> None:
    """Has cargo forget what it built of our own sources: it tells whether they are newer by their times alone, and those of another
    clone, or of a file that was put back, say nothing."""
    packages = [word for name in SOURCES for word in ("--package", f"homeport-{name}")]
    words = ["cargo", "clean", "--quiet", "--profile", "device", "--target", board.rust_target, *packages]
    words += ["--manifest-path", str(toolbox.REPOSITORY / "Cargo.toml")]
    settings = {"CARGO_TARGET_DIR": str(cache.folder() / "target-device")}
    process.run(_enter(board)(words), name="cargo clean", env=environment | settings)


def _enter(board: Board) -> Callable[[list[str]], list[str]]:
    return lambda words: toolbox.command(words, toolbox.compiler(board.architecture))


def _cargo_home() -> Path:
    return Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")


def _cargo(board: Board, environment: dict[str, str], enter: Callable[[list[str]], list[str]]) -> Path:
    """Has cargo build it, as `enter` starts it."""
    target = board.rust_target
    if target not in BINUTILS:
        raise BuildError(f"no compiler is known for {target}: qemu/agent.py lists them")
    folder = cache.folder() / "target-device"
    manifest = str(toolbox.REPOSITORY / "Cargo.toml")
    environment["CARGO_TARGET_DIR"] = str(folder)
    fetch = ["cargo", "fetch", "--quiet", "--locked", "--target", target, "--manifest-path", manifest]
    process.run(enter(fetch), name="cargo fetch", env=environment)
    name, tools = target.replace("-", "_"), BINUTILS[target]
    environment |= {
        f"CARGO_TARGET_{name.upper()}_LINKER": f"{tools}-gcc",
        f"CC_{name}": f"{tools}-gcc",
        f"AR_{name}": f"{tools}-ar",
        "RUSTFLAGS": " ".join(_flags(target)),
        # The profile aborts on panic: agent/build.rs says more.
        "HOMEPORT_UNWIND_TABLES": "discard",
    }
    build = ["cargo", "build", "--quiet", "--locked", "--package", "homeport-agent", "--profile", "device"]
    build += ["--target", target, "--manifest-path", manifest]
    process.run(enter(build), name=f"cargo build for {target}", env=environment)
    return folder / target / "device" / "homeport-agent"


def _flags(target: str) -> list[str]:
    flags = [] if target.startswith("arm") else [PACKED_RELOCATIONS]
    # Where crates lie on this machine is no device's business: their messages of panics name the crate and the file in it.
    sources = sorted((_cargo_home() / "registry/src").glob("*"))
    return flags + [f"--remap-path-prefix={folder}/=" for folder in sources]
