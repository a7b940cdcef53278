"""The machine's mirror is found in both formats of apt's sources, and a suite under its other names."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import debian  # noqa: E402
from steps import BuildError  # noqa: E402

ONE_LINE = """\
# deb http://commented.example/debian trixie main
deb http://security.example/debian-security trixie-security main
deb [ arch=amd64 signed-by=/usr/share/keyrings/x.gpg ] http://classic.example/debian trixie main contrib # ours
deb-src http://sources.example/debian trixie main
"""
DEB822 = """\
# The archive of a vendor
Types: deb
URIs: https://vendor.example/apt
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm

Types: deb deb-src
# between two fields
URIs: http://modern.example/debian
Suites: bookworm
 bookworm-updates
Components: main
"""


class Mirror(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.apt = Path(folder.name)
        (self.apt / "sources.list.d").mkdir()
        for patch in (mock.patch.object(debian, "APT_FOLDER", self.apt), mock.patch.dict(os.environ)):
            patch.start()
            self.addCleanup(patch.stop)
        os.environ.pop(debian.MIRROR_VARIABLE, None)

    def test_classic_format(self) -> None:
        (self.apt / "sources.list").write_text(ONE_LINE)
        self.assertEqual(debian.mirror(), "http://classic.example/debian")

    def test_deb822_format(self) -> None:
        (self.apt / "sources.list.d/debian.sources").write_text(DEB822)
        self.assertEqual(debian.mirror(), "http://modern.example/debian")

    def test_without_a_mirror_the_error_says_what_to_do(self) -> None:
        with self.assertRaisesRegex(BuildError, debian.MIRROR_VARIABLE):
            debian.mirror()

    def test_a_chosen_mirror_wins(self) -> None:
        (self.apt / "sources.list").write_text(ONE_LINE)
        os.environ[debian.MIRROR_VARIABLE] = "http://chosen.example/debian"
        self.assertEqual(debian.mirror(), "http://chosen.example/debian")


class Alias(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.archive = Path(folder.name)
        self.offer("stable", "trixie")

    def offer(self, name: str, codename: str) -> None:
        (self.archive / "dists" / name).mkdir(parents=True)
        (self.archive / "dists" / name / "InRelease").write_text(f"Suite: {name}\nCodename: {codename}\n")

    def test_the_same_suite_is_found_under_another_name(self) -> None:
        self.assertEqual(debian.alias("trixie", self.archive.as_uri()), "stable")

    def test_another_suite_of_that_name_is_not_taken(self) -> None:
        self.assertIsNone(debian.alias("bookworm", self.archive.as_uri()))
        self.offer("oldstable", "bookworm")
        self.assertEqual(debian.alias("bookworm", self.archive.as_uri()), "oldstable")

    def test_a_mirror_that_does_not_answer_has_none(self) -> None:
        self.assertIsNone(debian.alias("trixie", (self.archive / "nothing").as_uri()))


if __name__ == "__main__":
    unittest.main()
