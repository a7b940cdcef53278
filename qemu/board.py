"""Facts about a board: `boards/<name>/board.toml`, which the Rust driver reads too."""

import dataclasses
import tomllib
from pathlib import Path

from steps import BuildError

BOARDS = Path(__file__).resolve().parent / "boards"


@dataclasses.dataclass(frozen=True)
class DebianKernel:
    """A kernel that Debian builds: the package, and the suite that has it."""

    suite: str
    package: str


@dataclasses.dataclass(frozen=True)
class SourceKernel:
    """A kernel that is built from Debian's source package: with one of the kernel's own configurations and the board's
    changes to it. `devicetree` is the one that the board's firmware hands over."""

    source: str
    defconfig: str
    config: Path
    devicetree: str


@dataclasses.dataclass(frozen=True)
class Board:
    """One board. `folder` also holds what its bootloader or its kernel is configured with."""

    folder: Path
    name: str
    architecture: str
    rust_target: str
    compatible: str
    bootloader: str
    console: str
    kernel: DebianKernel | SourceKernel
    early_modules: tuple[str, ...]
    modules: tuple[str, ...]
    device: str
    slot_mib: int
    data_mib: int


def load(name: str) -> Board:
    """The board of that name."""
    file = BOARDS / name / "board.toml"
    if not file.exists():
        known = ", ".join(sorted(path.parent.name for path in BOARDS.glob("*/board.toml")))
        raise BuildError(f"no board {name}: there are {known}")
    facts = tomllib.loads(file.read_text())
    kernel, disk = facts["kernel"], facts["disk"]
    return Board(
        folder=file.parent,
        name=facts["name"],
        architecture=facts["architecture"],
        rust_target=facts["rust_target"],
        compatible=facts["compatible"],
        bootloader=facts["bootloader"],
        console=facts["console"],
        kernel=_kernel(file.parent, kernel),
        early_modules=tuple(kernel["early_modules"]),
        modules=tuple(kernel["modules"]),
        device=disk["device"],
        slot_mib=disk["slot_mib"],
        data_mib=disk["data_mib"],
    )


def _kernel(folder: Path, facts: dict[str, str]) -> DebianKernel | SourceKernel:
    if "source" in facts:
        return SourceKernel(facts["source"], facts["defconfig"], folder / facts["config"], facts["devicetree"])
    return DebianKernel(facts["suite"], facts["package"])
