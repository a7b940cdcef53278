"""The bootloaders that boards can name in `board.toml`. Each is a module with the same few names; see `grub.py`."""

import types

import grub
import selector
import uboot
from board import Board
from steps import BuildError

KNOWN = {"grub": grub, "selector": selector, "uboot": uboot}


def of(board: Board) -> types.ModuleType:
    """The module of the board's bootloader."""
    if board.bootloader not in KNOWN:
        raise BuildError(f"board {board.name}: no bootloader {board.bootloader}: there are {', '.join(KNOWN)}")
    return KNOWN[board.bootloader]
