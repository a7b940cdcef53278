"""The image of a slot: a read-only ext4 filesystem with kernel and initramfs inside."""

from pathlib import Path

import cache
import keys
import packages
import rootfs
import toolbox
from board import Board
from rootfs import Contents
from steps import step

# The same in every image: an adaptive update then finds nearly all blocks of the old slot again.
_UUID = "6f6d6570-6f72-4742-8f61-726400000001"
_HASH_SEED = "6f6d6570-6f72-4742-8f61-726400000002"
_INODES = "4096"
_BLOCK_SIZE = "4096"
# A slot is written once and never mounted for writing.
_FEATURES = "^has_journal,^metadata_csum,^64bit,^orphan_file,^resize_inode,^dir_index"


def image(board: Board, contents: Contents) -> Path:
    """The slot's filesystem image, built unless these very contents have been built before."""
    inputs = digest(board, contents)

    def make(draft: Path) -> None:
        # Fetched first, to be timed on their own.
        packages.base(board)
        packages.kernel(board)
        with step(f"assembling slot {contents.version} ({contents.flavour}) for {board.name}"):
            root, work = draft / "root", draft / "work"
            root.mkdir()
            work.mkdir()
            rootfs.assemble(board, contents, root, work)
            toolbox.run("mke2fs", "-q", "-t", "ext4", "-d", root, "-L", "rootfs", "-m", "0", "-N", _INODES,
                        "-b", _BLOCK_SIZE, "-U", _UUID, "-E", f"hash_seed={_HASH_SEED}", "-O", _FEATURES,
                        draft / "rootfs.ext4", f"{board.slot_mib}M",
                        settings={"SOURCE_DATE_EPOCH": str(rootfs.EPOCH)})  # fmt: skip
            toolbox.run("rm", "-r", root, work)

    return cache.entry("slot", inputs, make) / "rootfs.ext4"


def digest(board: Board, contents: Contents) -> cache.Digest:
    """Hash of all that a slot is made from."""
    inputs = cache.Digest()
    inputs.text("packages", " ".join(packages.BASE)).text("version", contents.version).text("flavour", contents.flavour)
    for module in sorted(rootfs.QEMU.glob("*.py")):
        inputs.file(module.name, module)
    for folder in (board.folder, rootfs.QEMU / "initramfs", *rootfs.overlays(board, contents.flavour)):
        inputs.tree(folder.name, folder)
    inputs.file("keyring", keys.signer("right").keyring)
    if contents.agent:
        inputs.file("agent", contents.agent).tree("dist", rootfs.AGENT_DIST)
    return inputs
