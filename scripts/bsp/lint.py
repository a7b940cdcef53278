#!/usr/bin/env python3
"""Checks meta-iot without a Yocto tree: scripts/bsp-lint runs this with what it needs. Exits with 1 if it finds something."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.dont_write_bytecode = True
import bundle  # noqa: E402
import init_script  # noqa: E402
import recipes  # noqa: E402
import units  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
LAYER = REPOSITORY / "meta-iot"
CONSTANTS = Path(__file__).with_name("oelint-constants.json")

# Rules that do not fit this layer, and why.
SUPPRESSED = {
    "oelint.bbclass.underscores": "the field's own classes have dashes: core-image, cargo-update-recipe-crates",
    "oelint.file.underscores": "recipes without a source of their own have no version, as in meta-rauc",
    "oelint.task.docstrings": "takes functions for tasks",
    "oelint.var.bbclassextend": "the command line alone runs on the machine that builds",
    "oelint.var.licenseremotefile": "the layer brings the licences of what it brings",
    "oelint.var.mandatoryvar.HOMEPAGE": "the project has none yet, and an invented one would be worse",
    "oelint.var.suggestedvar.BUGTRACKER": "as HOMEPAGE",
    "oelint.var.suggestedvar.CVE_PRODUCT": "no CVE has been assigned to the product",
    "oelint.var.suggestedvar.SECTION": "images and bundles have none",
    "oelint.vars.homepageping": "asks the network",
    "oelint.vars.multilineident": "puts spaces into texts",
    "oelint.vars.noncoreoverride": "every append is guarded by a distro feature",
    "oelint.vars.srcurifile": "the crates come after the source",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--oelint", type=Path, required=True, help="Python with oelint-adv")
    parser.add_argument("--agent", type=Path, required=True, help="a homeport-agent for this machine")
    arguments = parser.parse_args()

    checks: dict[str, Callable[[], list[str]]] = {
        "oelint-adv": lambda: _oelint(arguments.oelint),
        "generated files": _generated_files,
        "recipe and Cargo": recipes.findings,
        "units": units.findings,
        "shell": _shell,
        "boot script": _boot_script,
        "bundle": bundle.findings,
        "init script": lambda: init_script.findings(arguments.agent.resolve()),
    }
    failed = False
    for name, check in checks.items():
        start = time.monotonic()
        findings = check()
        print(f"meta-iot: {name}: {len(findings) or 'no'} findings ({time.monotonic() - start:.1f} s)")
        for finding in findings:
            print(f"  {finding}")
        failed |= bool(findings)
    sys.exit(1 if failed else 0)


def _oelint(python: Path) -> list[str]:
    files = sorted(path for pattern in ("*.bb", "*.bbappend", "*.bbclass") for path in LAYER.rglob(pattern))
    suppressed = [word for rule in SUPPRESSED for word in ("--suppress", rule)]
    result = subprocess.run(
        [python, "-m", "oelint_adv", "--quiet", "--relpaths", "--jobs=2", "--release=scarthgap",
         f"--constantmods=+{CONSTANTS}", *suppressed, *files],
        cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    lines = sorted(set(result.stdout.split("\n")) - {""})
    return lines or ([f"oelint-adv ended with status {result.returncode}"] if result.returncode else [])


def _generated_files() -> list[str]:
    command = [sys.executable, REPOSITORY / "scripts/bsp/products.py", "--check"]
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return result.stdout.splitlines() if result.returncode else []


def _shell() -> list[str]:
    scripts = [LAYER / "scripts/make-signing-keys", REPOSITORY / "scripts/bsp-lint"]
    scripts += (REPOSITORY / "agent/dist/sysvinit").iterdir()
    scripts += (REPOSITORY / "scripts/bsp/yocto/tools").iterdir()
    result = subprocess.run(["shellcheck", "--format=gcc", *scripts], text=True, capture_output=True, check=False)
    return result.stdout.splitlines() + result.stderr.splitlines()


def _boot_script() -> list[str]:
    script = REPOSITORY / "qemu/bootloaders/grub/grub.cfg"
    command = [REPOSITORY / "qemu/toolbox", "grub-script-check", script]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    return (result.stderr or f"grub-script-check {script}: {result.returncode}").splitlines() if result.returncode else []


if __name__ == "__main__":
    main()
