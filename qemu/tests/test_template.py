"""Placeholders are filled in, and none is left over on a board."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import template  # noqa: E402
from steps import BuildError  # noqa: E402


class Fill(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "grub.cfg"
        self.file.write_text("root=@DEVICE@$partition mail=a@b.example @DEVICE@\n")

    def test_every_place_gets_its_value(self) -> None:
        filled = template.fill(self.file, {"DEVICE": "/dev/vda", "CONSOLE": "ttyS0"})
        self.assertEqual(filled, "root=/dev/vda$partition mail=a@b.example /dev/vda\n")

    def test_a_placeholder_that_is_not_known_is_an_error(self) -> None:
        with self.assertRaisesRegex(BuildError, "@DEVICE@"):
            template.fill(self.file, {})


if __name__ == "__main__":
    unittest.main()
