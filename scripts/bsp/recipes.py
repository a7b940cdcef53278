"""What recipes say about the agent and the command line, compared with what Cargo and their own files say."""

import hashlib
import json
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

import products
from products import AGENT, PRODUCTS, REPOSITORY, Product

LAYER = REPOSITORY / "meta-iot"
# Licences of crates as SPDX expressions; each is a choice of licences that must all be kept.
_Choice = frozenset[str]
# Linked by name only: zvariant_utils also serves procedural macros, and its parser, which has these tables, is dropped.
NOT_IN_THE_BINARY = {"unicode-ident"}


def findings() -> list[str]:
    workspace = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]
    found = _checksums() + _configuration_keys()
    for product in PRODUCTS:
        path = product.folder / f"{product.name}_{workspace['package']['version']}.bb"
        if not path.exists():
            found.append(f"{path.relative_to(REPOSITORY)} is missing: the version is Cargo.toml's")
            continue
        recipe, metadata = path.read_text(), _metadata(product)
        if product is AGENT:
            found += _features(recipe, tomllib.loads((REPOSITORY / "agent/Cargo.toml").read_text()))
            if 'export HOMEPORT_UNWIND_TABLES = "discard"\n' not in recipe:
                found.append("a program that aborts carries tables for unwinding: HOMEPORT_UNWIND_TABLES is not discard")
        found += _compilers(metadata, workspace["package"]["rust-version"])
        found += [f"{product.name}: {finding}" for finding in _licences(product, recipe, metadata)]
    return found


def _features(recipe: str, agent: dict) -> list[str]:
    features = set(agent.get("features", {})) - {"default"}
    options = set(re.findall(r"^PACKAGECONFIG\[(.+?)\]", recipe, re.MULTILINE))
    found = [f"cargo feature {name} has no PACKAGECONFIG" for name in sorted(features - options)]
    found += [f"PACKAGECONFIG {name} is no cargo feature" for name in sorted(options - features)]
    default = re.search(r'^PACKAGECONFIG \?\?= "(.*)"$', recipe, re.MULTILINE)
    expected = set(agent.get("features", {}).get("default", []))
    if not default or set(default[1].split()) != expected:
        found.append(f"PACKAGECONFIG's default is not Cargo's: {' '.join(sorted(expected)) or 'nothing'}")
    return found


def _checksums() -> list[str]:
    found = []
    sums = {name: hashlib.md5((REPOSITORY / name).read_bytes()).hexdigest() for name in ("LICENSE-APACHE", "LICENSE-MIT")}
    for name in sums:
        if (LAYER / name).read_bytes() != (REPOSITORY / name).read_bytes():
            found.append(f"meta-iot/{name} is not the repository's")
    for recipe in (path for pattern in ("*.bb", "*.inc") for path in LAYER.rglob(pattern)):
        for name, given in re.findall(r"file://\S*?(LICENSE-\w+);md5=(\w+)", recipe.read_text()):
            if sums[name] != given:
                found.append(f"{recipe.name}: the checksum of {name} is {sums[name]}")
    return found


def _configuration_keys() -> list[str]:
    recipe = (LAYER / "recipes-homeport/homeport-config/homeport-config.bb").read_text()
    listed = re.search(r'^HOMEPORT_CONFIG_KEYS = "\\\n(.*?)"$', recipe, re.MULTILINE | re.DOTALL)
    given = set(listed[1].replace("\\", "").split()) if listed else set()
    known, section = set(), ""
    for line in (REPOSITORY / "agent/dist/agent.toml").read_text().splitlines():
        if header := re.fullmatch(r"\[(\S+)\]", line):
            section = f"{header[1]}."
        elif key := re.match(r"#([a-z-]+) = ", line):
            known.add(section + key[1])
    found = [f"homeport-config.bb: the agent's key {key} is not in HOMEPORT_CONFIG_KEYS" for key in sorted(known - given)]
    return found + [f"homeport-config.bb: {key} is no key of the agent" for key in sorted(given - known)]


def _compilers(metadata: dict, promised: str) -> list[str]:
    found = [
        f"{package['name']} {package['version']} needs Rust {package['rust_version']}, and {promised} is promised"
        for package in metadata["packages"]
        if package["rust_version"] and _version(package["rust_version"]) > _version(promised)
    ]
    sanity = (LAYER / "classes-global/homeport-sanity.bbclass").read_text()
    if f'HOMEPORT_RUST_VERSION = "{promised}"' not in sanity:
        found.append(f"homeport-sanity.bbclass: HOMEPORT_RUST_VERSION is not {promised}")
    return found


def _licences(product: Product, recipe: str, metadata: dict) -> list[str]:
    given = re.search(r'^LICENSE = "(.*)"$', recipe, re.MULTILINE)
    kept = set(re.findall(r"[\w.-]+", re.sub(r"\$\{HOMEPORT_(AND|OR)\}", "", given[1]))) if given else set()
    linked = _linked(product, metadata)
    found, needed = [], set()
    for package in metadata["packages"]:
        if package["id"] not in linked or package["name"] in NOT_IN_THE_BINARY or package["name"].startswith("homeport-"):
            continue
        choices = _choices(package["license"])
        fitting = [choice for choice in choices if choice <= kept]
        if not fitting:
            found.append(f"LICENSE has nothing for {package['name']}: {package['license']}")
        elif len(choices) == 1:
            needed |= choices[0]
    return found + [f"LICENSE has {name}, which no linked crate asks for" for name in sorted(kept - needed)]


def _linked(product: Product, metadata: dict) -> set[str]:
    """Ids of the packages whose code is in the product: no build scripts, no procedural macros and what those need."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    macros = {
        package["id"]
        for package in metadata["packages"]
        if any("proc-macro" in target["kind"] for target in package["targets"])
    }
    pending = [package["id"] for package in metadata["packages"] if package["name"] == product.name]
    linked: set[str] = set()
    while pending:
        current = pending.pop()
        if current in linked or current in macros:
            continue
        linked.add(current)
        for dependency in nodes[current]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                pending.append(dependency["pkg"])
    return linked


def _choices(expression: str) -> list[_Choice]:
    """The ways to satisfy an SPDX expression without nested parentheses."""
    text = expression.replace("/", " OR ")
    result: list[_Choice] = [frozenset()]
    for part in re.split(r" AND (?![^(]*\))", text):
        options = [option.split(" WITH ")[0].strip() for option in part.strip("() ").split(" OR ")]
        result = [choice | {option} for choice in result for option in options]
    return result


def _metadata(product: Product) -> dict:
    """Cargo's view of the workspace that a recipe builds, on Linux."""
    with tempfile.TemporaryDirectory(prefix="homeport-bsp-") as name:
        folder = Path(name)
        for path, text in products.generated(product).items():
            if path.is_relative_to(product.workspace):
                copy = folder / path.relative_to(product.workspace)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(text)
        for member in product.members:
            (folder / member / "src").mkdir()
            (folder / member / "src/lib.rs").touch()
        command = ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu",
                   f"--manifest-path={folder / 'Cargo.toml'}"]  # fmt: skip
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
