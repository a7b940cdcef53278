"""The toolbox: Debian chroots with QEMU, RAUC, GRUB, filesystem tools and Rust compilers, at known versions.

One holds what every board needs, and one for each architecture the compiler: a board fetches nothing of another.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import cache
import debian
import process
from steps import BuildError, step

REPOSITORY = Path(__file__).resolve().parent.parent

# The architecture of the tools themselves, as Debian calls it.
NATIVE = "amd64"


@dataclasses.dataclass(frozen=True)
class Tools:
    """A set of Debian packages that is a chroot of its own."""

    name: str
    packages: tuple[str, ...]
    architectures: tuple[str, ...] = (NATIVE,)


BOARDS = Tools("boards", (
    # what boards run on
    "qemu-system-x86", "qemu-system-arm", "qemu-utils", "seabios", "u-boot-qemu",
    # what images and bundles are made with
    "rauc", "squashfs-tools", "e2fsprogs", "dosfstools", "mtools", "fdisk", "grub-pc-bin", "grub-common",
    "kmod", "cpio", "zstd", "xz-utils", "openssl", "busybox-static", "u-boot-tools", "libubootenv-tool", "binutils",
    # what the tests look at a board's traffic and programs with
    "curl", "util-linux", "procps", "strace",
))  # fmt: skip

_COMPILER = ("rustc", "cargo", "gcc", "libc6-dev", "make", "pkg-config", "git", "ca-certificates")
_CROSS_COMPILERS = {
    "armel": "gcc-arm-linux-gnueabi",
    "armhf": "gcc-arm-linux-gnueabihf",
    "i386": "gcc-i686-linux-gnu",
}
# What a kernel is built with besides, for the board that has none in Debian.
_KERNEL = {"armel": ("bc", "bison", "flex", "lz4", "libssl-dev", "libelf-dev", "python3-minimal", "rsync")}

# Belong to the operating system that runs: the toolbox has its own. Everything else is visible in the toolbox.
SYSTEM_FOLDERS = {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "proc", "run", "sbin",
                  "snap", "sys", "usr", "var"}  # fmt: skip
KERNEL_FOLDERS = ["/proc", "/sys", "/dev"]
# The machine's own name resolution and trusted authorities, so that cargo reaches what it reaches outside.
NETWORK_FILES = ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"]

# Mounts in a namespace of its own, so that nothing is left behind, and becomes the command: same process id, so
# that killing what was started kills the tool.
ENTER = """
set -eu
root=$1 directory=$2 binds=$3
shift 3
while [ "$binds" -gt 0 ]; do
    mount --rbind "$1" "$root$1"
    binds=$((binds - 1))
    shift
done
exec chroot "$root" env -C "$directory" "$@"
"""


def compiler(architecture: str) -> Tools:
    """The compiler that the agent promises to build with, for one architecture of Debian's."""
    name = f"compiler for {architecture}"
    if architecture == NATIVE:
        return Tools(name, _COMPILER)
    if architecture not in _CROSS_COMPILERS:
        raise BuildError(f"no compiler is known for {architecture}: qemu/toolbox.py lists them")
    foreign = (f"libstd-rust-dev:{architecture}", f"libc6-dev:{architecture}", _CROSS_COMPILERS[architecture])
    return Tools(name, (*_COMPILER, *foreign, *_KERNEL.get(architecture, ())), (NATIVE, architecture))


def ensure(tools: Tools = BOARDS) -> Path:
    """The root folder of these tools, built first if this set of packages has not been built on this machine."""
    digest = cache.Digest().text("suite", debian.SUITE).text("architectures", " ".join(tools.architectures))
    digest.text("packages", " ".join(tools.packages))
    return cache.entry("toolbox", digest, lambda draft: _make(tools, draft), prune=False) / "root"


def command(arguments: list[str], tools: Tools = BOARDS) -> list[str]:
    """The host's command that runs `arguments` in the toolbox, in the current folder."""
    if os.geteuid() != 0:
        raise BuildError("the toolbox needs root (chroot, bind mounts): run it with sudo")
    root = ensure(tools)
    binds = _binds(root)
    for bind in binds:
        _make_mount_point(root, Path(bind))
    enter = ["unshare", "--mount", "sh", "-c", ENTER, "toolbox", str(root), os.getcwd(), str(len(binds)), *binds]
    return enter + arguments


def environment() -> dict[str, str]:
    """The caller's environment, but with the toolbox's own programs and no other compiler's settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RUSTUP_")}
    return ours | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def run(*arguments: str | Path, text: str = "", settings: Mapping[str, str] | None = None, tools: Tools = BOARDS) -> str:
    """Runs a tool as `process.run` does, with these environment variables on top of the toolbox's."""
    words = [str(argument) for argument in arguments]
    return process.run(command(words, tools), name=" ".join(words), text=text, env=environment() | dict(settings or {}))


def _make(tools: Tools, draft: Path) -> None:
    with step(f"building the toolbox ({tools.name}): {len(tools.packages)} Debian packages and what they need, once"):
        architectures = ",".join(tools.architectures)
        debian.bootstrap(draft / "root", [*tools.packages], variant="apt", architecture=architectures)


def _binds(root: Path) -> list[str]:
    top = [folder for folder in Path("/").iterdir() if folder.is_dir() and not folder.is_symlink()]
    outside = [str(folder) for folder in top if folder.name not in SYSTEM_FOLDERS]
    # The folder that holds the toolbox goes first: bound recursively later, it would bring the earlier mounts along.
    outside.sort(key=lambda folder: not root.is_relative_to(folder))
    inside = [REPOSITORY, cache.folder()]
    inside += [Path(os.environ[name]) for name in ("CARGO_HOME", "CARGO_TARGET_DIR", "TMPDIR") if name in os.environ]
    hidden = {str(path) for path in inside if path.exists() and path.parts[1:2] and path.parts[1] in SYSTEM_FOLDERS}
    files = [name for name in NETWORK_FILES if Path(name).exists()]
    return outside + KERNEL_FOLDERS + sorted(hidden) + files


def _make_mount_point(root: Path, bind: Path) -> None:
    point = Path(f"{root}{bind}")
    if bind.is_dir():
        point.mkdir(parents=True, exist_ok=True)
    elif not point.exists():
        point.parent.mkdir(parents=True, exist_ok=True)
        if point.is_symlink():
            point.unlink()
        point.touch()
