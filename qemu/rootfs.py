"""The root filesystem of a slot: Debian's packages, the files of the image and of the board, kernel, agent, flavour."""

import dataclasses
import os
import shutil
import stat
from pathlib import Path

import bootloader
import initramfs
import keys
import packages
import process
import toolbox
from board import Board
from steps import BuildError

QEMU = Path(__file__).resolve().parent
AGENT_DIST = toolbox.REPOSITORY / "agent" / "dist"

# `good` works. `unhealthy` boots but says that it is broken. `nogood` resets before anything can mark it good.
# `panic` does not even reach systemd. What the others change lies in `flavours/<name>`, a tree of files.
FLAVOURS = ("good", "unhealthy", "nogood", "panic")

# Every file gets this time, so that the same inputs make the same image.
EPOCH = 1_750_000_000

# Removed from the unpacked packages: package managers' files, documentation, and what nothing on the board uses.
_PRUNED = """
var/cache/apt var/lib/apt var/lib/dpkg etc/apt usr/share/doc usr/share/man usr/share/locale usr/share/lintian
usr/share/bash-completion usr/share/zsh usr/share/fish usr/share/info usr/share/bug usr/share/perl5 usr/share/gcc*
usr/share/polkit-1 usr/share/common-licenses usr/share/keyrings usr/share/debconf usr/share/i18n usr/share/zoneinfo
usr/share/grub usr/share/fonts usr/lib/grub usr/lib/udev/hwdb.d usr/lib/*/gconv usr/lib/*/libmvec* usr/lib/*/perl*
usr/lib/*/libdb-5.3* usr/lib/systemd/catalog usr/bin/grub-[!e]* usr/bin/grub-editenv.* usr/sbin/grub-* etc/grub.d
usr/bin/perl* usr/lib/tmpfiles.d/debian.conf usr/lib/tmpfiles.d/systemd-network.conf usr/lib/tmpfiles.d/credstore.conf
usr/lib/tmpfiles.d/provision.conf usr/lib/tmpfiles.d/home.conf
"""

# Nothing on a read-only slot without udev needs these, and each costs boot time.
_MASKED = """
dev-hugepages.mount dev-mqueue.mount getty.target kmod-static-nodes.service ldconfig.service
modprobe@configfs.service modprobe@drm.service modprobe@fuse.service proc-sys-fs-binfmt_misc.automount
sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
systemd-ask-password-console.path systemd-ask-password-wall.path systemd-binfmt.service
systemd-boot-random-seed.service systemd-firstboot.service systemd-hwdb-update.service
systemd-journal-catalog-update.service systemd-machine-id-commit.service systemd-network-generator.service
systemd-networkd-wait-online.service systemd-pcrphase.service systemd-pstore.service systemd-random-seed.service
systemd-sysusers.service systemd-tpm2-setup-early.service systemd-tpm2-setup.service systemd-update-done.service
"""

_MOUNT_POINTS = ["boot/loader", "data", "dev", "mnt", "proc", "root", "run", "sys", "tmp", "var"]
_UNIT_FOLDERS = ["etc/systemd/system", "usr/lib/systemd/system"]
# The shell that tests use; people use the board's own console.
_MACHINE_CONSOLE = "hvc0"
# systemd's own programs do these; busybox' applets of the same names would bypass it.
_UNWANTED_APPLETS = {"init", "linuxrc", "reboot", "poweroff", "halt", "modprobe", "depmod", "insmod", "rmmod", "lsmod"}


@dataclasses.dataclass(frozen=True)
class Contents:
    """What distinguishes one slot from another of the same board."""

    version: str
    flavour: str
    agent: Path | None


def assemble(board: Board, contents: Contents, root: Path, work: Path) -> None:
    """Fills the empty folder `root`."""
    process.run(["tar", "--extract", f"--file={packages.base(board)}", f"--directory={root}"])
    for pattern in _PRUNED.split():
        for path in root.glob(pattern):
            _remove(path)
    for folder in _MOUNT_POINTS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    _install_busybox(root)
    trees = overlays(board, contents.flavour)
    for tree in trees:
        _copy_tree(tree, root)
    _write_version(root, board, contents.version)
    _write_rauc_configuration(root, board)
    _install_kernel(root, board, contents.flavour, work)
    if contents.agent:
        _install_agent(root, contents.agent)
    _arrange_units(root, board, trees)
    _reset_times(root)


def overlays(board: Board, flavour: str) -> list[Path]:
    """Trees of files that are copied over the packages, in this order."""
    if flavour not in FLAVOURS:
        raise BuildError(f"no flavour {flavour}: there are {', '.join(FLAVOURS)}")
    loader = QEMU / "bootloaders" / board.bootloader
    candidates = [QEMU / "image", loader / "image", board.folder / "image", QEMU / "flavours" / flavour]
    return [folder for folder in candidates if folder.is_dir()]


def _install_busybox(root: Path) -> None:
    for applet in toolbox.run("busybox", "--list-full").split():
        path = root / "usr" / applet.removeprefix("usr/")
        if path.name not in _UNWANTED_APPLETS and not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to("/usr/bin/busybox")


def _write_version(root: Path, board: Board, version: str) -> None:
    _write(root / "etc/os-release", f"""\
ID=homeport-board
NAME="Homeport reference board"
PRETTY_NAME="Homeport reference board {board.name} {version}"
VERSION_ID={version}
IMAGE_ID={board.compatible}
IMAGE_VERSION={version}
""")
    _write(root / "etc/hostname", f"board-{board.name.replace('_', '-')}\n")
    # Empty, so that a missing data partition still gives systemd an identity for this boot. The initramfs puts the
    # lasting one over it.
    _write(root / "etc/machine-id", "")
    os.chmod(root / "etc/shadow", 0o640)


def _write_rauc_configuration(root: Path, board: Board) -> None:
    loader = bootloader.of(board)
    first_slot = len(loader.PARTITIONS) + 1
    slots = "".join(
        f"\n[slot.rootfs.{index}]\ndevice={board.device}{first_slot + index}\ntype=ext4\nbootname={name}\n"
        for index, name in enumerate("AB")
    )
    settings = "\n".join(loader.RAUC_SETTINGS)
    _write(root / "etc/rauc/system.conf", f"""\
[system]
compatible={board.compatible}
{settings}
data-directory=/data/rauc
bundle-formats=-plain

[keyring]
path=/etc/rauc/keyring.pem
use-bundle-signing-time=true

[streaming]
sandbox-user=nobody

[log.homeport]
filename=events.json
format=json
events=all
max-size=64K
max-files=2
{slots}""")
    shutil.copyfile(keys.signer("right").keyring, root / "etc/rauc/keyring.pem")


def _install_kernel(root: Path, board: Board, flavour: str, work: Path) -> None:
    kernel = packages.kernel(board)
    target = root / "usr/lib/modules" / kernel.version
    target.mkdir(parents=True)
    for path in kernel.closure(board.early_modules + board.modules):
        kernel.unpack_module(path, target / packages.plain_name(path))
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copyfile(kernel.modules / name, target / name)
    toolbox.run("depmod", "--basedir", root, kernel.version)
    _write(root / "etc/modules-load.d/board.conf", "\n".join(board.modules) + "\n")
    shutil.copyfile(kernel.image, root / "boot/vmlinuz")
    initramfs.write(board, kernel, root / "usr/bin/busybox", root / "boot/initrd", work, panic=flavour == "panic")


def _install_agent(root: Path, agent: Path) -> None:
    install = AGENT_DIST / "install.sh"
    if not install.exists():
        raise BuildError(f"{install} is missing: it puts the agent's files in place")
    process.run(["sh", install, agent.resolve()], env=os.environ | {"DESTDIR": str(root)})


def _arrange_units(root: Path, board: Board, trees: list[Path]) -> None:
    units = root / "etc/systemd/system"
    for name in _MASKED.split():
        _link(units / name, "/dev/null")
    _link(units / "default.target", "/usr/lib/systemd/system/multi-user.target")
    for tree in trees:
        for folder in _UNIT_FOLDERS:
            for unit in (tree / folder).glob("*.*"):
                if unit.is_file():
                    _enable(root, board, root / unit.relative_to(tree))


def _enable(root: Path, board: Board, unit: Path) -> None:
    names = [unit.name]
    if unit.stem.endswith("@"):
        names = [f"{unit.stem}{console}{unit.suffix}" for console in (board.console, _MACHINE_CONSOLE)]
    for line in unit.read_text().splitlines():
        if line.startswith("WantedBy="):
            for target in line.removeprefix("WantedBy=").split():
                for name in names:
                    wants = root / "etc/systemd/system" / f"{target}.wants"
                    _link(wants / name, f"/{unit.relative_to(root)}")


def _reset_times(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def _copy_tree(source: Path, root: Path) -> None:
    for path in sorted(source.rglob("*")):
        target = root / path.relative_to(source)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            _write(target, path.read_text(), executable=bool(path.stat().st_mode & stat.S_IXUSR))


def _write(path: Path, text: str, *, executable: bool = False) -> None:
    _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755 if executable else 0o644)


def _link(path: Path, target: str) -> None:
    _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
