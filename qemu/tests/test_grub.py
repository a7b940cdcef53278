"""GRUB's environment is written in place: what RAUC changes never moves on the disk."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import toolbox  # noqa: E402
from process import ProgramError  # noqa: E402

_EDITENV = Path(__file__).resolve().parent.parent / "bootloaders/grub/image/usr/lib/homeport/grub/grub-editenv"


class Environment(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "grubenv"
        self.copy = Path(folder.name) / "grubenv.copy"
        toolbox.run("grub-editenv", self.file, "create")

    def editenv(self, *arguments: str) -> str:
        return toolbox.run("sh", _EDITENV, self.file, *arguments)

    def test_a_change_is_written_over_what_was_there(self) -> None:
        self.editenv("set", "ORDER=A B", "A_TRY=0")
        with self.file.open("rb") as before, self.copy.open("rb") as copy_before:
            self.editenv("set", "A_TRY=1")
            self.assertEqual(before.read(), self.file.read_bytes())
            self.assertEqual(copy_before.read(), self.file.read_bytes())
        self.assertEqual(self.editenv("list").split("\n")[:2], ["ORDER=A B", "A_TRY=1"])
        self.assertEqual(self.file.stat().st_size, 1024)

    def test_nothing_is_written_when_the_environment_is_lost(self) -> None:
        self.editenv("set", "ORDER=A B")
        self.file.write_bytes(b"")
        with self.assertRaises(ProgramError):
            self.editenv("set", "ORDER=B A")
        self.assertIn(b"ORDER=A B", self.copy.read_bytes())

    def test_a_copy_that_was_cut_off_is_made_again(self) -> None:
        self.copy.write_bytes(b"# GRUB")
        self.editenv("set", "ORDER=B A")
        self.assertEqual(self.copy.read_bytes(), self.file.read_bytes())


if __name__ == "__main__":
    unittest.main()
