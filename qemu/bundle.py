"""RAUC bundles of a slot."""

import dataclasses
import shutil
from pathlib import Path

import cache
import keys
import process
import slot
import toolbox
from board import Board
from rootfs import Contents
from steps import step

# Blocks of 64 KiB keep a streamed adaptive install small; zstd unpacks quickly on an emulated machine.
_SQUASHFS_OPTIONS = "-comp zstd -Xcompression-level 6 -b 64k"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What the bundle says about itself, and who signs it."""

    version: str
    compatible: str
    signer: str
    adaptive: bool


def bundle(board: Board, contents: Contents, manifest: Manifest) -> Path:
    """The bundle that installs a slot of these contents."""
    signer = keys.signer(manifest.signer)
    inputs = slot.digest(board, contents).text("manifest", repr(manifest)).file("signer", signer.certificate)
    image = slot.image(board, contents)

    def make(draft: Path) -> None:
        with step(f"bundling version {manifest.version} ({contents.flavour})"):
            content = draft / "content"
            content.mkdir()
            process.run(["cp", "--sparse=always", image, content / "rootfs.ext4"])
            adaptive = "adaptive=block-hash-index\n" if manifest.adaptive else ""
            (content / "manifest.raucm").write_text(f"""\
[update]
compatible={manifest.compatible}
version={manifest.version}

[bundle]
format=verity

[image.rootfs]
filename=rootfs.ext4
{adaptive}""")
            toolbox.run("rauc", "bundle", f"--cert={signer.certificate}", f"--key={signer.key}",
                        f"--keyring={signer.keyring}", f"--mksquashfs-args={_SQUASHFS_OPTIONS}",
                        content, draft / "update.raucb")  # fmt: skip
            shutil.rmtree(content)

    return cache.entry("bundle", inputs, make) / "update.raucb"
