"""U-Boot for QEMU's ARM machine: its partitions, the environment that RAUC writes, the flash that it starts from."""

import shutil
from pathlib import Path

import cache
import environment
import partitions
import template
import toolbox
from board import Board
from partitions import Partition

PACKAGES = environment.PACKAGES

# Linux never mounts it, so nothing can spoil it.
_BOOT = Partition("boot", 2)
PARTITIONS = [_BOOT, environment.PARTITION]
LOADER_PARTITION = None
RAUC_SETTINGS = environment.RAUC_SETTINGS

_FILES = Path(__file__).resolve().parent / "bootloaders" / "uboot"
_PROGRAM = "usr/lib/u-boot/qemu_arm/u-boot.bin"
# Debian's U-Boot reads its own environment, the commands to start with, from the machine's second flash.
_FLASH_BYTES = 64 << 20
_FLASH_ENVIRONMENT_BYTES = "0x40000"


def install(board: Board, disk: Path, offsets: dict[str, int], work: Path) -> None:
    """Writes boot partition and environment to a partitioned raw disk image."""
    environment.install(_FILES / "environment.txt", disk, offsets, work)
    with disk.open("r+b") as image:
        image.seek(offsets["boot"])
        image.write(_boot_partition(board, work))


def firmware(board: Board) -> Path:
    """A folder with what the machine starts from: `u-boot.bin`, and `flash.img` with U-Boot's own environment."""
    program = toolbox.ensure() / _PROGRAM
    inputs = cache.Digest().file("program", program).tree("files", _FILES).file("module", Path(__file__))

    def make(draft: Path) -> None:
        shutil.copyfile(program, draft / "u-boot.bin")
        flash = draft / "flash.img"
        toolbox.run("mkenvimage", "-s", _FLASH_ENVIRONMENT_BYTES, "-o", flash, _FILES / "flash.txt")
        with flash.open("r+b") as opened:
            opened.truncate(_FLASH_BYTES)

    return cache.entry("firmware", inputs, make)


def _boot_partition(board: Board, work: Path) -> bytes:
    first_slot = len(PARTITIONS) + 1
    values = {"DEVICE": board.device, "CONSOLE": board.console,
              "SLOT_A": str(first_slot), "SLOT_B": str(first_slot + 1)}  # fmt: skip
    (work / "boot.cmd").write_text(template.fill(_FILES / "boot.cmd", values))
    compiled = work / "boot.scr"
    toolbox.run("mkimage", "-A", "arm", "-O", "linux", "-T", "script", "-C", "none", "-n", "boot",
                "-d", work / "boot.cmd", compiled)  # fmt: skip
    return partitions.fat(_BOOT, [compiled], work)
