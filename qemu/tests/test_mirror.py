"""What a mirror lacks is fetched under the suite's other name, and named where that does not help."""

import functools
import gzip
import hashlib
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import debian  # noqa: E402
from steps import BuildError  # noqa: E402

SUITE = "trixie"
# The mirror of this test has no signature.
UNSIGNED = ("Acquire::AllowInsecureRepositories true", "APT::Get::AllowUnauthenticated true")


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in self.server.breaks:
            # Ends the connection without an answer, once.
            self.server.breaks.remove(self.path)
            self.close_connection = True
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


class SmallMirror:
    """A Debian archive on loopback: package `tool`, which depends on `library`, in one version under each name of the suite."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{server.server_port}"
        self.breaks = server.breaks = set()
        self._server = server

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def offer(self, name: str, version: str) -> None:
        """Indexes the packages of this version under `name`."""
        stanzas = [self._package("library", version, ""), self._package("tool", version, f"library (= {version})")]
        index = gzip.compress("\n".join(stanzas).encode())
        relative = "main/binary-amd64/Packages.gz"
        path = self.folder / "dists" / name / relative
        path.parent.mkdir(parents=True)
        path.write_bytes(index)
        (self.folder / "dists" / name / "InRelease").write_text(f"""\
Suite: {name}
Codename: {SUITE}
Date: Sat, 12 Sep 2026 07:55:41 UTC
Architectures: amd64
Components: main
SHA256:
 {hashlib.sha256(index).hexdigest()} {len(index)} {relative}
""")

    def lose(self, package: str, version: str) -> None:
        """The pool does not hold the file that an index lists."""
        self._file(package, version).unlink()

    def _file(self, package: str, version: str) -> Path:
        return self.folder / "pool" / f"{package}_{version}_amd64.deb"

    def _package(self, package: str, version: str, depends: str) -> str:
        path = self._file(package, version)
        control = f"Package: {package}\nVersion: {version}\nArchitecture: amd64\nMaintainer: test <test@invalid>\n"
        control += f"Depends: {depends}\n" if depends else ""
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory() as tree:
                (Path(tree) / "DEBIAN").mkdir()
                (Path(tree) / "DEBIAN/control").write_text(f"{control}Description: test\n")
                (Path(tree) / "usr/share").mkdir(parents=True)
                (Path(tree) / "usr/share" / package).write_text(version)
                subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, path], check=True, capture_output=True)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return f"{control}Filename: pool/{path.name}\nSize: {len(content)}\nSHA256: {digest}\nDescription: test\n"


@unittest.skipUnless(os.geteuid() == 0, "mmdebstrap needs root here, as the builder does")
class Lag(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.target = Path(folder.name) / "root"
        (Path(folder.name) / "mirror").mkdir()
        self.mirror = SmallMirror(Path(folder.name) / "mirror")
        self.addCleanup(self.mirror.close)
        for patch in (
            mock.patch.object(debian, "APT_OPTIONS", (*debian.APT_OPTIONS, *UNSIGNED)),
            mock.patch.dict(os.environ, {debian.MIRROR_VARIABLE: self.mirror.address}),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def bootstrap(self) -> str:
        debian.bootstrap(self.target, ["tool"], variant="extract", architecture="amd64", suite=SUITE)
        return (self.target / "usr/share/library").read_text()

    def test_a_whole_mirror_is_taken_as_it_is(self) -> None:
        self.mirror.offer(SUITE, "2")
        self.mirror.offer("stable", "1")
        self.assertEqual(self.bootstrap(), "2")

    def test_what_a_connection_lost_is_asked_for_again(self) -> None:
        self.mirror.offer(SUITE, "2")
        self.mirror.breaks |= {"/pool/library_2_amd64.deb", "/pool/tool_2_amd64.deb"}
        self.assertEqual(self.bootstrap(), "2")
        self.assertEqual(self.mirror.breaks, set())

    def test_a_pool_behind_its_index_is_asked_under_the_suite_s_other_name(self) -> None:
        self.mirror.offer(SUITE, "2")
        self.mirror.offer("stable", "1")
        self.mirror.lose("library", "2")
        self.assertEqual(self.bootstrap(), "1")

    def test_what_no_name_brings_is_named_with_what_to_do(self) -> None:
        self.mirror.offer(SUITE, "2")
        self.mirror.lose("library", "2")
        with self.assertRaises(BuildError) as caught:
            self.bootstrap()
        message = str(caught.exception)
        self.assertIn("package library 2 (amd64): 404", message)
        self.assertIn(debian.MIRROR_VARIABLE, message)

    def test_a_package_that_no_index_lists_is_no_lag(self) -> None:
        self.mirror.offer(SUITE, "2")
        self.mirror.offer("stable", "1")
        with self.assertRaises(BuildError) as caught:
            debian.bootstrap(self.target, ["missing"], variant="extract", architecture="amd64", suite=SUITE)
        self.assertIn("missing", str(caught.exception))
        self.assertNotIn(debian.MIRROR_VARIABLE, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
