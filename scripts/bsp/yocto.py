#!/usr/bin/env python3
"""Checks meta-iot against a Yocto release, offline, with trees that you give:

    ./just yocto OE_CORE=<folder> BITBAKE=<folder> META_RAUC=<folder> [STEPS=parse,sanity,graph,compile,layer]

Steps, each with its time:
    parse     every recipe of core, meta-rauc and meta-iot
    sanity    a build that has no keys yet is told the command that makes them, and nothing else
    graph     every task of homeport-image and homeport-bundle can be resolved
    compile   homeport-agent and homeport-data are really built, for qemuarm, from do_fetch to do_package_qa, and
              homeport-cli-native up to its installation
    layer     yocto-check-layer

Nothing is downloaded but crates. So nothing else of core is built: for `compile` its recipes are masked,
and Debian's compilers stand in for those that a build would make first. It says whether the recipe is right, not
whether an image boots.

Needs the packages of `scripts/setup yocto`, the toolbox (qemu/toolbox), the locale en_US.UTF-8 and, as BitBake refuses
to run as root, a user that may read the trees and this checkout.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LAYER = REPOSITORY / "meta-iot"
STAND_INS = Path(__file__).resolve().parent / "yocto"
STEPS = ("parse", "sanity", "graph", "compile", "layer")
TREES = ("OE_CORE", "BITBAKE", "META_RAUC")

# Those that meta-iot has images for.
MACHINES = ("qemux86-64", "qemuarm")

_LOCAL_CONF = """\
MACHINE = "{machine}"
INHERIT:remove = "uninative"
INIT_MANAGER = "systemd"
DISTRO_FEATURES:append = " rauc homeport"
BB_NUMBER_THREADS = "1"
BB_NUMBER_PARSE_THREADS = "2"
CONNECTIVITY_CHECK_URIS = ""
HOMEPORT_VERSION = "1.0.0"
DL_DIR = "{work}/downloads"
"""
# scarthgap's own Rust is too old for the agent, and which tasks there are does not depend on it. Recipes are resolved
# with it; docs/usage/yocto.md says what a build adds.
_OLD_RUST = {"scarthgap": 'HOMEPORT_RUST_VERSION:forcevariable = "1.75"\n'}
_COMPILED = ["homeport-agent:do_package_qa", "homeport-data:do_package_qa", "homeport-cli-native:do_install"]
# Lines that recipes write of the configuration of `compile`: recipe, file, lines.
_REPAIR = r"homeport-fsck@dev-disk-by\x2dpartlabel-data.service"
_WRITTEN = [
    ("homeport-config", "usr/lib/homeport/agent.toml.d/50-bsp.toml",
     ['server.url = "https://fleet.example:8443"', "telemetry.sources = ['cpu', 'memory']"]),
    ("homeport-data", "usr/lib/systemd/system/data.mount",
     [f"Wants={_REPAIR}", f"After={_REPAIR}", "What=/dev/disk/by-partlabel/data"]),
]  # fmt: skip


def main() -> None:
    given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    unknown = [word for word in sys.argv[1:] if word.split("=", 1)[0] not in (*TREES, "STEPS", "USER", "WORK")]
    missing = [tree for tree in TREES if tree not in given]
    if unknown or missing:
        sys.exit(f"{__doc__}\nmissing: {' '.join(missing) or 'nothing'}; not understood: {' '.join(unknown) or 'nothing'}")
    trees = {name: Path(given[name]).resolve() for name in TREES}
    steps = given.get("STEPS", ",".join(STEPS)).split(",")
    if not set(steps) <= set(STEPS):
        sys.exit(f"steps are {', '.join(STEPS)}")

    release = release_of(trees)
    work = Path(given.get("WORK", "/var/tmp/homeport-yocto")) / release
    work.mkdir(parents=True, exist_ok=True)
    user = given.get("USER", "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    build = Build(trees, work, user)
    print(f"{release}: oe-core {_commit(trees['OE_CORE'])}, bitbake {_commit(trees['BITBAKE'])}, "
          f"meta-rauc {_commit(trees['META_RAUC'])}", flush=True)
    for step in steps:
        start = time.monotonic()
        summary = getattr(build, step)()
        print(f"{release} {step}: {summary} ({time.monotonic() - start:.0f} s)", flush=True)


class Build:
    """Build folders below `work`, in which `user` runs BitBake."""

    def __init__(self, trees: dict[str, Path], work: Path, user: str) -> None:
        self.trees = trees
        self.work = work
        self.user = user

    def parse(self) -> str:
        return "; ".join(self._parse(machine) for machine in MACHINES)

    def _parse(self, machine: str) -> str:
        output = self._run(self._image_folder(machine), "bitbake", "-p")
        return f"{machine}: {_one_line(output, r'^Parsing of .*$')}"

    def sanity(self) -> str:
        # The checks need no recipes: no appends either, as BitBake misses what they append to.
        masked = f'BBMASK = "{self.trees["OE_CORE"]}/meta/recipes- .*\\.bbappend"\nBBFILE_PATTERN_IGNORE_EMPTY_core = "1"\n'
        folder = self._folder("sanity", self._local_conf("qemuarm") + masked, [self.trees["META_RAUC"], LAYER])
        told = self._run(folder, "bitbake", "-p", may_warn=True)
        warnings = re.findall(r"(?:WARNING|ERROR): (.*)", told)
        if len(warnings) != 1 or "meta-iot/scripts/make-signing-keys" not in warnings[0]:
            sys.exit("a build without keys was told:\n" + "\n".join(warnings))
        return warnings[0]

    def graph(self) -> str:
        return "homeport-image and homeport-bundle need " + ", ".join(self._graph(machine) for machine in MACHINES)

    def _graph(self, machine: str) -> str:
        folder = self._image_folder(machine)
        self._run(folder, "bitbake", "--graphviz", "homeport-image", "homeport-bundle")
        recipes = len((folder / "pn-buildlist").read_text().split())
        tasks = (folder / "task-depends.dot").read_text().count("[label=")
        return f"{recipes} recipes and {tasks} tasks on {machine}"

    def compile(self) -> str:
        folder = self._folder("compile", self._compile_conf(), [LAYER, STAND_INS])
        self._make_tools(folder / "tools")
        self._run(folder, "bitbake", *_COMPILED)
        for recipe, file, wanted in _WRITTEN:
            written = next(folder.glob(f"tmp*/work/*/{recipe}/*/image/{file}")).read_text()
            if not all(line in written.splitlines() for line in wanted):
                sys.exit(f"{recipe} wrote:\n{written}")
        command_line = next(folder.glob("tmp*/work/*/homeport-cli-native/*/image/**/bin/homeport"))
        subprocess.run([command_line, "--version"], check=True, stdout=subprocess.DEVNULL)
        package = next(folder.glob("tmp*/work/*/homeport-agent/*/packages-split/homeport-agent"))
        binary = package / "usr/bin/homeport-agent"
        kind = subprocess.run(["file", "--brief", binary], capture_output=True, text=True, check=True).stdout
        return f"homeport-agent is {binary.stat().st_size} bytes, {','.join(kind.split(',')[:2])}"

    def layer(self) -> str:
        # yocto-check-layer adds the layer itself.
        folder = self._folder("layer", self._local_conf("qemuarm").replace(" rauc homeport", ""), [])
        output = self._run(folder, "yocto-check-layer", str(LAYER), "--dependency", str(self.trees["META_RAUC"]))
        return _one_line(output, r"(?m)^.*(?:homeport|meta-iot).*(?:PASS|FAIL).*$") or "passed"

    def _local_conf(self, machine: str) -> str:
        return _LOCAL_CONF.format(machine=machine, work=self.work) + _OLD_RUST.get(self.work.name, "")

    def _image_folder(self, machine: str) -> Path:
        keys = self.work / "keys"
        if not keys.exists():
            subprocess.run([LAYER / "scripts/make-signing-keys", keys], check=True, capture_output=True)
            self._own(keys)
        conf = self._local_conf(machine) + f"""\
RAUC_KEYRING_FILE = "{keys}/keyring.pem"
RAUC_CERT_FILE = "{keys}/signer.pem"
RAUC_KEY_FILE = "{keys}/signer.key"
"""
        return self._folder(machine, conf, [self.trees["META_RAUC"], LAYER])

    def _compile_conf(self) -> str:
        return self._local_conf("qemuarm").replace(" rauc homeport", "") + f"""\
require {STAND_INS}/conf/stand-ins.conf
include {STAND_INS}/conf/{self.work.name}.conf
HOMEPORT_CONFIG[server.url] = "https://fleet.example:8443"
HOMEPORT_CONFIG[telemetry.sources] = "['cpu', 'memory']"
BBMASK = "{self.trees['OE_CORE']}/meta/recipes- {LAYER}/recipes-bsp/ {LAYER}/recipes-kernel/"
"""

    def _folder(self, name: str, local_conf: str, layers: list[Path]) -> Path:
        """A build folder with this configuration. A file that would not change keeps its time, and BitBake its cache."""
        folder = self.work / name
        (folder / "conf").mkdir(parents=True, exist_ok=True)
        all_layers = [self.trees["OE_CORE"] / "meta"]
        all_layers += layers
        bblayers = 'BBPATH = "${TOPDIR}"\nBBFILES ?= ""\nBBLAYERS = "' + " ".join(map(str, all_layers)) + '"\n'
        for file, text in (("local.conf", local_conf), ("bblayers.conf", bblayers)):
            path = folder / "conf" / file
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
        self._own(folder / "conf")
        for path in (self.work, folder):
            if os.geteuid() == 0:
                shutil.chown(path, self.user)
        return folder

    def _make_tools(self, tools: Path) -> None:
        """Programs of the names that a cross build calls, which become Debian's."""
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir()
        toolbox = subprocess.run([REPOSITORY / "qemu/toolbox", "true"], check=False)
        if toolbox.returncode:
            sys.exit("the toolbox cannot be used: see docs/development/boards.md")
        sys.path.insert(0, str(REPOSITORY / "qemu"))
        sys.dont_write_bytecode = True
        import toolbox as toolbox_module

        compiler = toolbox_module.ensure(toolbox_module.compiler("armhf"))
        root = _readable_copy(compiler, self.work / "rust")
        loader = f'exec {root}/usr/lib64/ld-linux-x86-64.so.2 --library-path {root}/usr/lib/x86_64-linux-gnu'
        _script(tools / "rustc", f'{loader} {root}/usr/bin/rustc --sysroot {root}/usr "$@"')
        _script(tools / "cargo", f'{loader} {root}/usr/bin/cargo "$@"')
        for name in ("gcc", "g++", "cpp"):
            # The sysroot that a build would have made is empty here: Debian's own is used.
            _script(tools / f"arm-unknown-linux-gnueabi-{name}", f"""\
for word; do
    shift
    case $word in
        --sysroot=* | -fcanon-prefix-map) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec /usr/bin/arm-linux-gnueabihf-{name} "$@" """)
        for name in ("ar", "as", "gcc-ar", "gcc-nm", "gcc-ranlib", "ld", "nm", "objcopy", "objdump", "ranlib", "readelf",
                     "strip", "strings"):  # fmt: skip
            _script(tools / f"arm-unknown-linux-gnueabi-{name}", f'exec /usr/bin/arm-linux-gnueabihf-{name} "$@"')
        for source in (STAND_INS / "tools").iterdir():
            shutil.copy(source, tools)
        self._own(tools)

    def _run(self, folder: Path, *command: str, may_warn: bool = False) -> str:
        programs = f"{folder}/tools:{self.trees['OE_CORE']}/scripts:{self.trees['BITBAKE']}/bin"
        environment = {
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.work), "LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8", "BUILDDIR": str(folder),
            "BBPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1",
            # The trees belong to somebody else than the user who reads them.
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
            "BB_ENV_PASSTHROUGH_ADDITIONS": "GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0",
        }  # fmt: skip
        become = ["runuser", "--user", self.user, "--"] if os.geteuid() == 0 else []
        result = subprocess.run([*become, *command], cwd=folder, env=environment, text=True, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        (self.work / f"{command[0]}.log").write_text(result.stdout)
        findings = [line for line in result.stdout.splitlines() if re.match(r"(WARNING|ERROR|FAIL)", line)]
        if result.returncode or (findings and not may_warn):
            print(result.stdout[-6000:] if result.returncode else "\n".join(findings))
            sys.exit(f"{' '.join(command)}: status {result.returncode}, {len(findings)} warnings and errors")
        return result.stdout

    def _own(self, folder: Path) -> None:
        if os.geteuid() == 0:
            subprocess.run(["chown", "--recursive", self.user, folder], check=True)


def _readable_copy(root: Path, target: Path) -> Path:
    """The compiler of the toolbox, where a user who may not look into root's home can run it."""
    if not target.exists():
        draft = target.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        for name in ("usr/bin/rustc", "usr/bin/cargo", "usr/lib64", "usr/lib/rustlib/x86_64-unknown-linux-gnu",
                     "usr/lib/rustlib/armv7-unknown-linux-gnueabihf", "usr/lib/x86_64-linux-gnu"):  # fmt: skip
            source = root / name
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "--recursive", "--dereference" if source.is_file() else "--no-dereference", source,
                            draft / name], check=True)  # fmt: skip
        draft.rename(target)
    return target


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body.rstrip()}\n")
    path.chmod(0o755)


def release_of(trees: dict[str, Path]) -> str:
    """The release that the trees are of. A tree of something else, or a meta-rauc for other releases, ends the check."""
    core = _series(trees["OE_CORE"] / "meta/conf/layer.conf")
    if not core.get("COMPAT_core"):
        sys.exit(f"OE_CORE={trees['OE_CORE']} is no openembedded-core: meta/conf/layer.conf names no LAYERSERIES_COMPAT_core")
    # After a release, core answers to its name too for a while, so that layers can follow.
    names = core.get("CORENAMES") or core["COMPAT_core"]
    rauc = _series(trees["META_RAUC"] / "conf/layer.conf").get("COMPAT_rauc", [])
    if not set(rauc) & set(names):
        sys.exit(f"META_RAUC={trees['META_RAUC']} is for {' '.join(rauc) or 'no release'}, openembedded-core answers to {' '.join(names)}: "
                 "give a meta-rauc of the same release")  # fmt: skip
    return core["COMPAT_core"][-1]


def _series(layer: Path) -> dict[str, list[str]]:
    """What a layer's configuration says in `LAYERSERIES_...`."""
    if not layer.exists():
        return {}
    return {name: value.split() for name, value in re.findall(r'^LAYERSERIES_(\w+)\s*=\s*"([^"]*)"', layer.read_text(), re.MULTILINE)}


def _commit(tree: Path) -> str:
    command = ["git", "-c", "safe.directory=*", "-C", tree, "log", "-1", "--format=%h"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _one_line(output: str, pattern: str) -> str:
    found = re.findall(pattern, output, re.MULTILINE)
    return found[-1].strip() if found else ""


if __name__ == "__main__":
    main()
