"""systemd's opinion of the units that end up on a device."""

import re
import subprocess
import tempfile
from pathlib import Path

from products import REPOSITORY

FOLDERS = [
    REPOSITORY / "agent/dist/systemd",
    REPOSITORY / "meta-iot/recipes-homeport/homeport-data/homeport-data",
    REPOSITORY / "qemu/bootloaders/grub/image/usr/lib/systemd/system",
]
SUFFIXES = (".service", ".path", ".mount")
# What the recipe puts in place of them.
PLACEHOLDERS = {
    "@DATA@": "/dev/disk/by-partlabel/data",
    "@DATA_UNIT@": r"dev-disk-by\x2dpartlabel-data",
    "@LOADER@": "/dev/disk/by-partlabel/boot",
}


def findings() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="homeport-units-") as name:
        folder = Path(name)
        names = []
        for unit in (unit for source in FOLDERS for unit in sorted(source.iterdir()) if unit.suffix in SUFFIXES):
            text = unit.read_text()
            for placeholder, value in PLACEHOLDERS.items():
                text = text.replace(placeholder, value)
            # Programs of the device, which this machine need not have.
            text = re.sub(r"^(Exec\w+=)\S+", r"\g<1>/bin/true", text, flags=re.MULTILINE)
            # Newer than Debian 12's systemd, and ignored by one that does not know it.
            text = re.sub(r"^ImportCredential=.*\n", "", text, flags=re.MULTILINE)
            (folder / unit.name).write_text(text)
            names.append(unit.name)
        command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(folder / name for name in names)]
        result = subprocess.run(command, text=True, capture_output=True, check=False)
        # Warnings do not change its status.
        return [line.replace(f"{folder}/", "") for line in result.stderr.splitlines()]
