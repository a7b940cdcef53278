"""GRUB for BIOS machines: its partitions, its environment that RAUC writes, and its installation on a disk image."""

import shutil
import struct
from pathlib import Path

import partitions
import template
import toolbox
from board import Board
from partitions import SECTOR, Partition

# grub-editenv, for RAUC and for the repair service; the rest of the package is removed from the slot.
PACKAGES = ["grub-common"]

# FAT for the environment, which GRUB and RAUC write: on ext2 an unclean reset corrupted the block bitmap and with it
# the environment.
_BOOT = Partition("boot", 8)
PARTITIONS = [Partition("bios", 1, "21686148-6449-6E6F-744E-656564454649"), _BOOT]
LOADER_PARTITION = 2
RAUC_SETTINGS = ["bootloader=grub", "grubenv=/boot/loader/grubenv"]

_CONFIG = Path(__file__).resolve().parent / "bootloaders/grub/grub.cfg"
_MODULES = ["biosdisk", "part_gpt", "ext2", "fat", "normal", "configfile", "loadenv", "linux", "test", "true", "echo",
            "serial", "terminal", "reboot"]  # fmt: skip
# What only a board that is emulated and watched wants: it starts over at once after a panic.
_ARGUMENTS = "panic=1 quiet loglevel=4 mitigations=off nowatchdog random.trust_cpu=on"
_FOLDER = "usr/lib/grub/i386-pc"
# Offsets in GRUB's boot sector and in the first sector of its core image ("diskboot"), see GRUB's boot.S, diskboot.S.
_BOOT_CODE_SIZE = 440
_BOOT_KERNEL_SECTOR = 0x5C
_BOOT_DRIVE_CHECK = 0x66
_DISKBOOT_FIRST_BLOCK = 0x1F4
_NOP_NOP = b"\x90\x90"


def install(board: Board, disk: Path, offsets: dict[str, int], work: Path) -> None:
    """Writes boot sector, core image and boot partition to a partitioned raw disk image."""
    core = work / "core.img"
    toolbox.run("grub-mkimage", "-O", "i386-pc", "-o", core, "-p", f"(hd0,gpt{LOADER_PARTITION})/", *_MODULES)
    boot_sector = bytearray((toolbox.ensure() / _FOLDER / "boot.img").read_bytes())
    first_sector = offsets["bios"] // SECTOR
    struct.pack_into("<Q", boot_sector, _BOOT_KERNEL_SECTOR, first_sector)
    boot_sector[_BOOT_DRIVE_CHECK : _BOOT_DRIVE_CHECK + 2] = _NOP_NOP
    core_image = bytearray(core.read_bytes())
    struct.pack_into("<Q", core_image, _DISKBOOT_FIRST_BLOCK, first_sector + 1)

    with disk.open("r+b") as image:
        image.write(boot_sector[:_BOOT_CODE_SIZE])
        image.seek(offsets["bios"])
        image.write(core_image)
        image.seek(offsets["boot"])
        image.write(_boot_partition(board, work))


def _boot_partition(board: Board, work: Path) -> bytes:
    slots = {name: LOADER_PARTITION + number for number, name in enumerate("AB", start=1)}
    config = template.fill(_CONFIG, {
        "TERMINALS": "serial",
        "LOADER": str(LOADER_PARTITION),
        **{f"SLOT_{name}": str(number) for name, number in slots.items()},
        **{f"ROOT_{name}": f"{board.device}{number}" for name, number in slots.items()},
        "KERNEL": "vmlinuz",
        "ARGUMENTS": f"console={board.console} {_ARGUMENTS}",
    })  # fmt: skip
    (work / "grub.cfg").write_text(config)
    environment = work / "grubenv"
    toolbox.run("grub-editenv", environment, "create")
    # Slot B is empty in the factory.
    toolbox.run("grub-editenv", environment, "set", "ORDER=A B", "A_OK=1", "B_OK=0", "A_TRY=0", "B_TRY=0")
    shutil.copyfile(environment, work / "grubenv.copy")

    return partitions.fat(_BOOT, [work / "grub.cfg", environment, work / "grubenv.copy"], work)
