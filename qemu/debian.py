"""Debian packages for the toolbox and the boards, from the mirror that this machine already uses."""

import os
import re
import shutil
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import process
from steps import BuildError, step

SUITE = "trixie"
MIRROR_VARIABLE = "HOMEPORT_DEBIAN_MIRROR"
APT_FOLDER = Path("/etc/apt")

# A suite of the main archive, as opposed to "-security", "-updates" and third parties' own names.
MAIN_SUITES = {"bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable"}

# Other names of a suite. A mirror that got half of a point release may still hold all of the one before under them.
ALIASES = ("stable", "oldstable")
# What is read of an alias's release file: the fields of its head.
RELEASE_HEAD_BYTES = 4096
RELEASE_TIMEOUT_S = 30

# By itself, apt asks three times for what a connection lost.
APT_OPTIONS = ("APT::Install-Recommends false", "Acquire::Languages none")

# What apt writes of a file that it could not fetch.
_UNFETCHED = re.compile(r"^[EW]: Failed to fetch (\S+)\s+(.*)$", re.MULTILINE)
# Files that are named in an error.
_NAMED_FILES = 5

# Nobody reads these on a board or in the toolbox.
UNWANTED = ("doc", "man", "locale", "info", "lintian", "bash-completion", "zsh", "zoneinfo")


def mirror() -> str:
    """Address of the Debian mirror in this machine's apt sources, in either of apt's formats."""
    if chosen := os.environ.get(MIRROR_VARIABLE):
        return chosen
    for source in [APT_FOLDER / "sources.list", *sorted((APT_FOLDER / "sources.list.d").glob("*"))]:
        if not source.is_file():
            continue
        entries = _deb822(source.read_text()) if source.suffix == ".sources" else _one_line(source.read_text())
        for uri, suites in entries:
            if MAIN_SUITES.intersection(suites):
                return uri
    raise BuildError(f"no Debian mirror in {APT_FOLDER}: set {MIRROR_VARIABLE} to the address of one")


def bootstrap(target: Path, packages: list[str], *, variant: str, architecture: str, suite: str = SUITE) -> None:
    """Unpacks `packages` and what they depend on to `target`: a folder, or a tar file if it is named so.

    The variant `extract` only unpacks, so it works for every architecture; `apt` also configures.
    """
    if os.geteuid() != 0:
        raise BuildError("building boards needs root (chroot, bind mounts): run it with sudo")
    if not shutil.which("mmdebstrap"):
        with step("installing mmdebstrap on this machine"):
            _apt_get("update")
            _apt_get("install", "--yes", "--no-install-recommends", "mmdebstrap", "debian-archive-keyring")
    # Verbose, or the error would not say which file could not be fetched.
    options = ["--verbose", "--mode=root", f"--variant={variant}", f"--architectures={architecture}"]
    options += [f"--aptopt={option}" for option in APT_OPTIONS]
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNWANTED]
    options += [f"--include={','.join(packages)}"]
    source = mirror()
    try:
        _mmdebstrap(options, suite, target, source)
    except _Unfetched as error:
        other = alias(suite, source)
        if other is None:
            raise
        print(error, file=sys.stderr)
        if target.is_dir():
            shutil.rmtree(target)
        with step(f"trying the mirror's other name of {suite}, which is {other}"):
            _mmdebstrap(options, other, target, source)


class _Unfetched(BuildError):
    """Files that the mirror's index lists and the mirror did not send."""


def _mmdebstrap(options: list[str], suite: str, target: Path, source: str) -> None:
    try:
        process.run(["mmdebstrap", *options, suite, target, source], name=f"mmdebstrap {suite}")
    except process.ProgramError as error:
        files = {_file_name(url): reason.split(" [")[0] for url, reason in _UNFETCHED.findall(error.output)}
        if not files:
            raise
        listed = "\n".join(f"  {name}: {reason}" for name, reason in list(files.items())[:_NAMED_FILES])
        more = f"\n  and {len(files) - _NAMED_FILES} more" if len(files) > _NAMED_FILES else ""
        raise _Unfetched(
            f"the Debian mirror {source} did not send what its index of {suite} lists:\n{listed}{more}\n"
            f"It may be in the middle of an update: try again in an hour, or set {MIRROR_VARIABLE} to another mirror's address."
        ) from error


def _file_name(url: str) -> str:
    """`libc6 2.41-12 (armel)` for a package; the end of the address for an index."""
    name = urllib.parse.unquote(url.rsplit("/", 1)[-1])
    package = re.fullmatch(r"([^_]+)_([^_]+)_([^_]+)\.deb", name)
    if package is None:
        return url.rsplit("/dists/", maxsplit=1)[-1]
    return f"package {package[1]} {package[2]} ({package[3]})"


def alias(suite: str, source: str) -> str | None:
    """Another name under which the mirror `source` has the same suite, if it has one."""
    for name in ALIASES:
        try:
            with urllib.request.urlopen(f"{source}/dists/{name}/InRelease", timeout=RELEASE_TIMEOUT_S) as answer:
                head = answer.read(RELEASE_HEAD_BYTES).decode(errors="replace")
        except (OSError, ValueError):
            continue
        if f"Codename: {suite}" in head.splitlines():
            return name
    return None


def _apt_get(*arguments: str) -> None:
    process.run(["apt-get", "--quiet", *arguments])


def _one_line(text: str) -> list[tuple[str, list[str]]]:
    entries = []
    for line in text.splitlines():
        words = line.split("#")[0].replace("[", " [").split()
        if not words or words[0] != "deb":
            continue
        while len(words) > 1 and words[1].startswith("["):
            end = next((i for i, word in enumerate(words) if word.endswith("]")), len(words) - 1)
            del words[1 : end + 1]
        if len(words) >= 3:
            entries.append((words[1], [words[2]]))
    return entries


def _deb822(text: str) -> list[tuple[str, list[str]]]:
    entries = []
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        fields: dict[str, str] = {}
        key = ""
        for line in lines:
            if line[:1].isspace():
                fields[key] = f"{fields.get(key, '')} {line.strip()}"
            elif ":" in line:
                key, value = line.split(":", 1)
                key = key.strip().lower()
                fields[key] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
            entries += [(uri, fields.get("suites", "").split()) for uri in fields.get("uris", "").split()]
    return entries
