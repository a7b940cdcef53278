"""A bundle as the recipe makes it, made and read back by the real RAUC with keys of the layer's own script."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from products import REPOSITORY

LAYER = REPOSITORY / "meta-iot"
RECIPE = LAYER / "dynamic-layers/rauc/recipes-homeport/bundles/homeport-bundle.bb"
SYSTEM_CONF = LAYER / "dynamic-layers/rauc/recipes-core/rauc/files/system.conf"
# What the recipes would put in.
SETTINGS = {
    "HOMEPORT_COMPATIBLE": "nodistro-qemux86-64", "HOMEPORT_VERSION": "1.2.3", "HOMEPORT_BUNDLE_IMAGE": "homeport-image",
    "MACHINE": "qemux86-64", "HOMEPORT_BOOTLOADER": "grub", "HOMEPORT_SLOT_A_DEVICE": "/dev/disk/by-partlabel/slot-a",
    "HOMEPORT_SLOT_B_DEVICE": "/dev/disk/by-partlabel/slot-b",
    "HOMEPORT_RAUC_SYSTEM": "grubenv=/boot/loader/EFI/BOOT/grubenv",
}  # fmt: skip
# A multiple of 4 KiB, as block-hash-index wants.
_IMAGE_BYTES = 1 << 20


def findings() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="homeport-bundle-") as name:
        folder = Path(name)
        try:
            return _check(folder)
        except subprocess.CalledProcessError as error:
            return [f"{' '.join(map(str, error.cmd))}: {error.stderr}"]


def _check(folder: Path) -> list[str]:
    keys = folder / "keys"
    lines = _run(LAYER / "scripts/make-signing-keys", keys)
    files = dict(re.findall(r'^(RAUC_\w+) = "(.*)"$', lines, re.MULTILINE))
    content = folder / "content"
    content.mkdir()
    (content / "rootfs.ext4").write_bytes(os.urandom(_IMAGE_BYTES))
    (content / "manifest.raucm").write_text(_manifest())
    system_conf = folder / "system.conf"
    system_conf.write_text(_system_conf(files["RAUC_KEYRING_FILE"]))

    bundle = folder / "update.raucb"
    arguments = re.search(r"^BUNDLE_ARGS \+= '--mksquashfs-args=\"(.*)\"'$", RECIPE.read_text(), re.MULTILINE)[1]
    _rauc("bundle", f"--cert={files['RAUC_CERT_FILE']}", f"--key={files['RAUC_KEY_FILE']}",
          f"--keyring={files['RAUC_KEYRING_FILE']}", f"--mksquashfs-args={arguments}", content, bundle)  # fmt: skip
    read = _rauc(f"--conf={system_conf}", "info", "--output-format=shell", bundle)
    told = dict(re.findall(r"^(\w+)='?(.*?)'?$", read, re.MULTILINE))
    expected = {
        "RAUC_MF_COMPATIBLE": SETTINGS["HOMEPORT_COMPATIBLE"], "RAUC_MF_VERSION": SETTINGS["HOMEPORT_VERSION"],
        "RAUC_IMAGE_CLASS_0": "rootfs", "RAUC_IMAGE_NAME_0": "rootfs.ext4",
    }  # fmt: skip
    found = [f"rauc info says {key}={told.get(key)}, not {value}" for key, value in expected.items() if told.get(key) != value]
    if "block-hash-index" not in _rauc(f"--conf={system_conf}", "info", bundle):
        found.append("the bundle is not adaptive")
    return found


def _manifest() -> str:
    """As meta-rauc's bundle class writes it from the recipe's variables."""
    recipe = RECIPE.read_text()
    values = dict(re.findall(r'^(RAUC_\w+(?:\[\w+\])?) = "(.*)"$', recipe, re.MULTILINE))
    values = {key: _expand(value) for key, value in values.items()}
    lines = ["[update]", f"compatible={values['RAUC_BUNDLE_COMPATIBLE']}", f"version={values['RAUC_BUNDLE_VERSION']}",
             f"description={values['RAUC_BUNDLE_DESCRIPTION']}", "[bundle]", f"format={values['RAUC_BUNDLE_FORMAT']}"]  # fmt: skip
    for slot in values["RAUC_BUNDLE_SLOTS"].split():
        lines += [f"[image.{slot}]", f"adaptive={values[f'RAUC_SLOT_{slot}[adaptive]']}",
                  f"filename={slot}.{values[f'RAUC_SLOT_{slot}[fstype]']}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _system_conf(keyring: str) -> str:
    """As the append of rauc-conf fills its template in, but for the place of the keyring."""
    text = SYSTEM_CONF.read_text()
    append = (LAYER / "dynamic-layers/rauc/recipes-core/rauc/rauc-conf_homeport.inc").read_text()
    for placeholder, variable in re.findall(r"s\|(@\w+@)\|\$\{(\w+)\}\|", append):
        text = text.replace(placeholder, SETTINGS[variable])
    return text.replace("/etc/rauc/keyring.pem", keyring)


def _expand(text: str) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: SETTINGS[match[1]], text)


def _rauc(*arguments: str | Path) -> str:
    return _run(REPOSITORY / "qemu/toolbox", "rauc", *arguments)


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout
