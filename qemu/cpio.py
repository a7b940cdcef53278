"""Archives that the kernel unpacks as its initramfs."""

from pathlib import Path

import toolbox

# In a fixed order and with fixed times: the same inputs make the same file.
_PACK = """
set -e
cd "$1"
find . -exec touch --no-dereference --date=@0 {} +
find . | sort | cpio --quiet --create --format=newc --reproducible --owner=0:0 > "$2"
"""


def pack(root: Path, target: Path) -> None:
    """Packs the folder `root` into the file `target`; everything in it belongs to root."""
    toolbox.run("sh", "-c", _PACK, "pack", root, target)
