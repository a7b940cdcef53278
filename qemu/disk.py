"""The disk of a board as it leaves the factory: bootloader, slot A, an empty slot B, empty data."""

from pathlib import Path

import bootloader
import cache
import partitions
import process
import rootfs
import slot
import toolbox
from board import Board
from partitions import MIB, Partition
from rootfs import Contents
from steps import step


def disk(board: Board, contents: Contents) -> Path:
    """The disk as a qcow2 image. Nothing may write to it: boards run on overlays."""
    inputs = slot.digest(board, contents).text("what", "disk")
    inputs.tree("bootloader", rootfs.QEMU / "bootloaders" / board.bootloader)
    image = slot.image(board, contents)

    def make(draft: Path) -> None:
        with step(f"making the disk with version {contents.version} in slot A"):
            loader = bootloader.of(board)
            raw = draft / "disk.raw"
            slots = [Partition("rootfs-a", board.slot_mib), Partition("rootfs-b", board.slot_mib)]
            offsets = partitions.create(raw, [*loader.PARTITIONS, *slots, Partition("data", board.data_mib)])
            _copy(image, raw, offsets["rootfs-a"])
            data = draft / "data.ext4"
            toolbox.run("mke2fs", "-q", "-t", "ext4", "-L", "data", data, f"{board.data_mib}M")
            _copy(data, raw, offsets["data"])
            work = draft / "work"
            work.mkdir()
            loader.install(board, raw, offsets, work)
            toolbox.run("qemu-img", "convert", "-O", "qcow2", raw, draft / "disk.qcow2")
            toolbox.run("rm", "-r", raw, data, work)

    return cache.entry("disk", inputs, make) / "disk.qcow2"


def _copy(source: Path, disk_image: Path, offset: int) -> None:
    place = [f"if={source}", f"of={disk_image}", "bs=1M", f"seek={offset // MIB}"]
    process.run(["dd", *place, "conv=notrunc,sparse", "status=none"])
