"""What a board takes from Debian: its base system as a tar file, and its kernel with indexed modules."""

import lzma
import re
import shutil
from pathlib import Path

import bootloader
import cache
import debian
import kernel_source
import process
import toolbox
from board import Board, SourceKernel
from steps import BuildError, step

BASE = ["systemd", "systemd-sysv", "dbus", "e2fsprogs", "rauc", "rauc-service", "busybox-static", "kmod", "util-linux"]


def base(board: Board) -> Path:
    """The unpacked packages of a board in one tar file. Nothing in it was configured or run."""
    wanted = BASE + bootloader.of(board).PACKAGES
    digest = cache.Digest().text("suite", debian.SUITE).text("architecture", board.architecture)
    digest.text("packages", " ".join(wanted))

    def make(draft: Path) -> None:
        with step(f"unpacking {len(wanted)} Debian packages and what they need for {board.architecture}"):
            debian.bootstrap(draft / "base.tar", wanted, variant="extract", architecture=board.architecture)

    return cache.entry("base", digest, make) / "base.tar"


class Kernel:
    """A kernel, unpacked or built: `vmlinuz`, and the modules of one version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder / "vmlinuz"
        versions = list((folder / "usr/lib/modules").iterdir())
        if len(versions) != 1:
            raise BuildError(f"{folder} holds {len(versions)} kernels instead of one: remove it and build again")
        self.version = versions[0].name
        self.modules = versions[0]
        self._needs = self._dependencies()
        self._builtin = {_module_name(line) for line in (self.modules / "modules.builtin").read_text().splitlines()}

    def closure(self, names: tuple[str, ...]) -> list[str]:
        """Files of the named modules and of all that they need, in loading order, relative to `modules`."""
        by_name = {_module_name(path): path for path in self._needs}
        ordered: list[str] = []

        def add(path: str) -> None:
            for needed in self._needs[path]:
                add(needed)
            if path not in ordered:
                ordered.append(path)

        for name in names:
            if name in by_name:
                add(by_name[name])
            elif name not in self._builtin:
                raise BuildError(f"kernel {self.version} has no module {name}: correct board.toml or the configuration")
        return ordered

    def unpack_module(self, path: str, target: Path) -> None:
        """Writes a module without its compression: the initramfs and busybox read only plain ones."""
        source = self.modules / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".xz":
            with lzma.open(source) as packed, target.open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        else:
            shutil.copyfile(source, target)

    def _dependencies(self) -> dict[str, list[str]]:
        lines = (self.modules / "modules.dep").read_text().splitlines()
        return {path: needs.split() for path, needs in (line.split(":", 1) for line in lines)}


def kernel(board: Board) -> Kernel:
    """The board's kernel."""
    wanted = board.kernel
    if isinstance(wanted, SourceKernel):
        return Kernel(kernel_source.build(board.architecture, wanted))
    digest = cache.Digest().text("suite", wanted.suite).text("package", wanted.package)
    digest.text("architecture", board.architecture)

    def make(draft: Path) -> None:
        with step(f"unpacking {wanted.package}"):
            tar = draft / "kernel.tar"
            debian.bootstrap(tar, [wanted.package], variant="extract",
                             architecture=board.architecture, suite=wanted.suite)  # fmt: skip
            unpack = ["tar", "--extract", f"--file={tar}", f"--directory={draft}", "--wildcards"]
            process.run([*unpack, "./*lib/modules/*", "./boot/vmlinuz-*"])
            tar.unlink()
            if (draft / "lib").is_dir():
                # Suites before trixie.
                (draft / "usr").mkdir()
                (draft / "lib").rename(draft / "usr/lib")
            image = next((draft / "boot").glob("vmlinuz-*"))
            version = image.name.removeprefix("vmlinuz-")
            # depmod knows only /lib/modules.
            (draft / "lib").symlink_to("usr/lib")
            image.rename(draft / "vmlinuz")
            toolbox.run("depmod", "--basedir", draft, version)

    return Kernel(cache.entry("kernel", digest, make))


def plain_name(path: str) -> str:
    """The path of a module without the suffix of its compression."""
    return re.sub(r"\.xz$", "", path)


def _module_name(path: str) -> str:
    return re.sub(r"\.ko(\.xz)?$", "", Path(path).name).replace("-", "_")
