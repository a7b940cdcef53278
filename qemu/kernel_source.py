"""Kernels built from Debian's own source package, for boards that Debian has no kernel for."""

import os
import shutil
from pathlib import Path

import cache
import debian
import process
import toolbox
from board import SourceKernel
from steps import BuildError, step

# What the kernel calls Debian's architecture, and the prefix of the compiler for it.
_CROSS = {"armel": ("arm", "arm-linux-gnueabi-")}

# The same inputs make the same kernel.
_REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "2025-06-15",
    "KBUILD_BUILD_USER": "homeport",
    "KBUILD_BUILD_HOST": "qemu-build",
}


def build(architecture: str, kernel: SourceKernel) -> Path:
    """A folder with `vmlinuz`, `devicetree.dtb`, and the module indices of a kernel that has everything built in."""
    if architecture not in _CROSS:
        raise BuildError(f"no compiler for {architecture}: kernels are built for {', '.join(_CROSS)}")
    digest = cache.Digest().text("suite", debian.SUITE).text("source", kernel.source)
    digest.text("architecture", architecture).text("defconfig", kernel.defconfig)
    digest.text("devicetree", kernel.devicetree).file("config", kernel.config)

    def make(draft: Path) -> None:
        tree = _unpack(kernel.source, draft)
        with step(f"building the kernel of {kernel.source} (once, about 9 CPU minutes)"):
            _configure(architecture, kernel, tree)
            _make(architecture, tree, f"-j{os.cpu_count()}", "zImage", kernel.devicetree)
        boot = tree / "arch" / _CROSS[architecture][0] / "boot"
        shutil.copyfile(boot / "zImage", draft / "vmlinuz")
        shutil.copyfile(boot / "dts" / kernel.devicetree, draft / "devicetree.dtb")
        _index(tree, draft)
        shutil.rmtree(tree.parent)

    return cache.entry("kernel", digest, make)


def lost(wanted: str, made: str) -> list[str]:
    """The lines of a wanted configuration that the one that was made of it does not have."""
    settings = set(made.splitlines())
    values = {setting.split("=")[0] for setting in settings if setting.startswith("CONFIG_")}
    set_otherwise = [line for line in wanted.splitlines() if line.startswith("CONFIG_") and line not in settings]
    not_unset = [line for line in wanted.splitlines() if line.endswith(" is not set") and line.split()[1] in values]
    return set_otherwise + not_unset


def _unpack(package: str, draft: Path) -> Path:
    with step(f"unpacking {package}"):
        folder, tar = draft / "source", draft / "source.tar"
        folder.mkdir()
        # The package is the same for every architecture.
        debian.bootstrap(tar, [package], variant="extract", architecture="amd64")
        member = f"./usr/src/{package}.tar.xz"
        process.run(["tar", "--extract", f"--file={tar}", f"--directory={folder}", member])
        tar.unlink()
        process.run(["tar", "--extract", f"--file={folder / member}", f"--directory={folder}"])
        return folder / package


def _configure(architecture: str, kernel: SourceKernel, tree: Path) -> None:
    _make(architecture, tree, kernel.defconfig)
    config = tree / ".config"
    wanted = kernel.config.read_text()
    with config.open("a") as opened:
        opened.write(wanted)
    _make(architecture, tree, "olddefconfig")
    if without_effect := lost(wanted, config.read_text()):
        report = "\n".join(without_effect)
        raise BuildError(f"{kernel.config}: without effect, add what they depend on or remove them:\n{report}")


def _index(tree: Path, draft: Path) -> None:
    """Lets kmod know what is built in: a service that asks for such a module is told that it is there already."""
    version = (tree / "include/config/kernel.release").read_text().strip()
    modules = draft / "usr/lib/modules" / version
    modules.mkdir(parents=True)
    for name in ("modules.builtin", "modules.builtin.modinfo"):
        shutil.copyfile(tree / name, modules / name)
    for name in ("modules.order", "modules.dep"):
        (modules / name).touch()


def _make(architecture: str, tree: Path, *targets: str) -> None:
    name, prefix = _CROSS[architecture]
    toolbox.run("make", "--silent", "-C", tree, f"ARCH={name}", f"CROSS_COMPILE={prefix}", *targets,
                settings=_REPRODUCIBLE, tools=toolbox.compiler(architecture))  # fmt: skip
