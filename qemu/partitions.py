"""The partition table of a board: what the bootloader needs, two slots, data."""

import dataclasses
from pathlib import Path

import toolbox

SECTOR = 512
MIB = 1 << 20
LINUX = "L"


@dataclasses.dataclass(frozen=True)
class Partition:
    """One GPT partition; `type` as sfdisk takes it."""

    name: str
    mib: int
    type: str = LINUX


def fat(partition: Partition, files: list[Path], work: Path) -> bytes:
    """A FAT filesystem as large as the partition, with these files in its top folder."""
    image = work / f"{partition.name}.fat"
    image.touch()
    with image.open("r+b") as opened:
        opened.truncate(partition.mib * MIB)
    toolbox.run("mkfs.vfat", "-n", partition.name.upper(), image)
    toolbox.run("mcopy", "-i", image, *files, "::/")
    return image.read_bytes()


def create(disk: Path, partitions: list[Partition]) -> dict[str, int]:
    """Makes a sparse raw image with these partitions; answers with their offsets in bytes."""
    offsets: dict[str, int] = {}
    script = "label: gpt\n"
    position = MIB
    for partition in partitions:
        offsets[partition.name] = position
        script += f"start={position // SECTOR}, size={partition.mib * MIB // SECTOR}, "
        script += f"type={partition.type}, name={partition.name}\n"
        position += partition.mib * MIB
    with disk.open("wb") as image:
        # One MiB more for the second partition table.
        image.truncate(position + MIB)
    toolbox.run("sfdisk", "--quiet", disk, text=script)
    return offsets
