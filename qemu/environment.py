"""U-Boot's environment, kept twice on a partition of its own: in libubootenv's format, for RAUC's U-Boot backend."""

from pathlib import Path

import toolbox
from partitions import Partition

# fw_printenv and fw_setenv, for RAUC.
PACKAGES = ["libubootenv-tool"]
# It has no filesystem, and the copies are far apart.
PARTITION = Partition("environment", 1)
RAUC_SETTINGS = ["bootloader=uboot"]

# As in boot.cmd and in the boards' fw_env.config.
_COPY_BYTES = "0x1000"
_COPY_OFFSETS = (0, 0x80000)


def install(text: Path, disk: Path, offsets: dict[str, int], work: Path) -> None:
    """Writes both copies of the environment in `text` to a partitioned raw disk image."""
    copy = work / "environment"
    toolbox.run("mkenvimage", "-r", "-s", _COPY_BYTES, "-o", copy, text)
    with disk.open("r+b") as image:
        for offset in _COPY_OFFSETS:
            image.seek(offsets[PARTITION.name] + offset)
            image.write(copy.read_bytes())
