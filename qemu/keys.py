"""Keys that sign bundles: a throw-away authority for each checkout, and a second one that boards do not trust."""

import dataclasses
from pathlib import Path

import cache
import toolbox
from steps import BuildError, step

SIGNERS = ("right", "wrong")
_VALIDITY_DAYS = "3650"

# RAUC checks the purpose "smimesign": with the extended usage codeSigning instead, `rauc bundle --keyring` refuses.
_SIGNER_EXTENSIONS = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, emailProtection
"""


@dataclasses.dataclass(frozen=True)
class Signer:
    """A certificate and key to sign with, and the keyring that trusts it. Paths of PEM files."""

    certificate: Path
    key: Path
    keyring: Path


def signer(name: str) -> Signer:
    """The signer of that name; the keys of this checkout are made when they are first asked for."""
    if name not in SIGNERS:
        raise BuildError(f"no signer {name}: there are {', '.join(SIGNERS)}")
    digest = cache.Digest().text("checkout", str(toolbox.REPOSITORY))
    folder = cache.entry("keys", digest, _make, prune=False) / name
    return Signer(folder / "signer.pem", folder / "signer.key", folder / "keyring.pem")


def _make(draft: Path) -> None:
    with step("making this checkout's bundle keys"):
        for name in SIGNERS:
            folder = draft / name
            folder.mkdir(mode=0o700)
            authority, key, request = folder / "keyring.pem", folder / "authority.key", folder / "request.pem"
            new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
            toolbox.run("openssl", "req", "-x509", *new_key, "-keyout", key, "-out", authority, "-days", _VALIDITY_DAYS,
                        "-subj", f"/CN=Homeport test authority ({name})",
                        "-addext", "basicConstraints=critical,CA:TRUE",
                        "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
            toolbox.run("openssl", "req", *new_key, "-keyout", folder / "signer.key", "-out", request,
                        "-subj", f"/CN=Homeport test signer ({name})")  # fmt: skip
            extensions = folder / "extensions"
            extensions.write_text(_SIGNER_EXTENSIONS)
            toolbox.run("openssl", "x509", "-req", "-in", request, "-CA", authority, "-CAkey", key,
                        "-CAcreateserial", "-days", _VALIDITY_DAYS, "-extfile", extensions,
                        "-out", folder / "signer.pem")  # fmt: skip
