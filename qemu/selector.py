"""The boot selector: a kernel and an initramfs that pick a slot and start its kernel with kexec; see
`bootloaders/selector/init`."""

import gzip
import re
import shutil
from pathlib import Path

import cache
import cpio
import debian
import environment
import kernel_source
import process
import toolbox
from board import Board
from steps import BuildError, step

PACKAGES = environment.PACKAGES
PARTITIONS = [environment.PARTITION]
LOADER_PARTITION = None
RAUC_SETTINGS = environment.RAUC_SETTINGS

_FILES = Path(__file__).resolve().parent / "bootloaders" / "selector"

_TOOLS = ["busybox-static", "kexec-tools", "libubootenv-tool"]
_PROGRAMS = ["usr/sbin/kexec", "usr/bin/fw_printenv", "usr/bin/fw_setenv"]
_FOLDERS = ["bin", "dev", "etc", "proc", "slot", "sys", "var/lock"]


def install(board: Board, disk: Path, offsets: dict[str, int], work: Path) -> None:
    """Writes the environment to a partitioned raw disk image. The selector itself is the machine's firmware."""
    environment.install(_FILES / "environment.txt", disk, offsets, work)


def firmware(board: Board) -> Path:
    """A folder with what the machine starts from: `zImage`, `selector.cpio.gz`, `devicetree.dtb`."""
    kernel = kernel_source.build(board.architecture, board.kernel)
    fw_env_config = board.folder / "image/etc/fw_env.config"
    inputs = cache.Digest().text("kernel", kernel.name).text("suite", debian.SUITE).text("tools", " ".join(_TOOLS))
    inputs.text("architecture", board.architecture).text("device", board.device).file("fw_env.config", fw_env_config)
    inputs.tree("files", _FILES).file("module", Path(__file__)).file("cpio", Path(cpio.__file__))

    def make(draft: Path) -> None:
        root, archive = draft / "root", draft / "selector.cpio"
        with step(f"making the boot selector for {board.architecture}"):
            for folder in _FOLDERS:
                (root / folder).mkdir(parents=True)
            _install_tools(board, root, draft)
            shutil.copyfile(_FILES / "slots.sh", root / "slots.sh")
            shutil.copyfile(_FILES / "init", root / "init")
            (root / "init").chmod(0o755)
            shutil.copyfile(fw_env_config, root / "etc/fw_env.config")
            # What fw_printenv and fw_setenv start from when both copies are unreadable.
            shutil.copyfile(_FILES / "defaults.txt", root / "etc/u-boot-initial-env")
            slot_a = len(PARTITIONS) + 1
            (root / "selector.conf").write_text(f"SLOT_A={board.device}{slot_a}\nSLOT_B={board.device}{slot_a + 1}\n")
            cpio.pack(root, archive)
            (draft / "selector.cpio.gz").write_bytes(gzip.compress(archive.read_bytes(), mtime=0))
        shutil.rmtree(root)
        archive.unlink()
        shutil.copyfile(kernel / "vmlinuz", draft / "zImage")
        shutil.copyfile(kernel / "devicetree.dtb", draft / "devicetree.dtb")

    return cache.entry("firmware", inputs, make)


def _install_tools(board: Board, root: Path, work: Path) -> None:
    """Copies busybox, the programs, and the libraries that they need."""
    tar, packages = work / "tools.tar", work / "tools"
    packages.mkdir()
    debian.bootstrap(tar, _TOOLS, variant="extract", architecture=board.architecture)
    process.run(["tar", "--extract", f"--file={tar}", f"--directory={packages}"])
    shutil.copy(packages / "usr/bin/busybox", root / "bin/busybox")
    needed = [packages / program for program in _PROGRAMS]
    for path in needed:
        # The loader's own path and the libraries' folder differ between architectures; links become plain files.
        target = root / path.relative_to(packages)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        needed += [library for library in _libraries(path, packages) if library not in needed]
    (root / "lib").symlink_to("usr/lib")
    shutil.rmtree(packages)
    tar.unlink()


def _libraries(program: Path, packages: Path) -> list[Path]:
    """The loader and the libraries that a program names, wherever they lie in the unpacked packages."""
    described = toolbox.run("readelf", "--program-headers", "--dynamic", program)
    names = re.findall(r"Shared library: \[(.*)\]|program interpreter: /lib/(.*)\]", described)
    found = []
    for library, loader in names:
        folder = packages / "usr/lib"
        paths = [folder / loader] if loader else sorted(folder.glob(f"**/{library}"))
        if not paths:
            raise BuildError(f"{program.name} needs {library}, which no package of {', '.join(_TOOLS)} brings")
        found.append(paths[0])
    return found
