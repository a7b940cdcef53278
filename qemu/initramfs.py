"""The initramfs of a slot: busybox, the modules that reach the disk, and `initramfs/init`."""

import shutil
from pathlib import Path

import bootloader
import cpio
import packages
from board import Board

INIT = Path(__file__).resolve().parent / "initramfs" / "init"
_FOLDERS = ["bin", "dev", "modules", "proc", "slot", "sys"]


def write(board: Board, kernel: packages.Kernel, busybox: Path, target: Path, work: Path, *, panic: bool) -> None:
    """Writes the initramfs to `target`."""
    root = work / "initramfs"
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    shutil.copy(INIT, root / "init")
    modules = kernel.closure(board.early_modules)
    for path in modules:
        kernel.unpack_module(path, root / "modules" / _file_name(path))
    loader = bootloader.of(board)
    first_slot = len(loader.PARTITIONS) + 1
    loader_device = f"{board.device}{loader.LOADER_PARTITION}" if loader.LOADER_PARTITION else ""
    (root / "board.conf").write_text(f"""\
MODULES="{" ".join(_file_name(path) for path in modules)}"
DATA={board.device}{first_slot + 2}
LOADER={loader_device}
PANIC={"yes" if panic else ""}
""")
    cpio.pack(root, target)


def _file_name(path: str) -> str:
    return Path(packages.plain_name(path)).name
