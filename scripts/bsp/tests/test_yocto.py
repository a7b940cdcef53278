"""The check says what a tree is."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import yocto  # noqa: E402


class Release(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.trees = {"OE_CORE": Path(folder.name) / "core", "META_RAUC": Path(folder.name) / "rauc"}

    def core(self, text: str) -> None:
        self.write(self.trees["OE_CORE"] / "meta/conf/layer.conf", text)

    def rauc(self, series: str) -> None:
        self.write(self.trees["META_RAUC"] / "conf/layer.conf", f'LAYERSERIES_COMPAT_rauc = "{series}"\n')

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def test_a_tree_with_one_name(self) -> None:
        self.core('LAYERSERIES_CORENAMES = "scarthgap"\nLAYERSERIES_COMPAT_core = "scarthgap"\n')
        self.rauc("scarthgap")
        self.assertEqual(yocto.release_of(self.trees), "scarthgap")

    def test_a_tree_that_still_answers_to_the_release_before(self) -> None:
        self.core('LAYERSERIES_CORENAMES = "wrynose blacksail"\nLAYERSERIES_COMPAT_core = "blacksail"\n')
        self.rauc("wrynose")
        self.assertEqual(yocto.release_of(self.trees), "blacksail")

    def test_a_meta_rauc_of_another_release(self) -> None:
        self.core('LAYERSERIES_CORENAMES = "scarthgap"\nLAYERSERIES_COMPAT_core = "scarthgap"\n')
        self.rauc("wrynose")
        with self.assertRaisesRegex(SystemExit, "is for wrynose, openembedded-core answers to scarthgap"):
            yocto.release_of(self.trees)

    def test_a_tree_of_something_else(self) -> None:
        self.rauc("wrynose")
        with self.assertRaisesRegex(SystemExit, "is no openembedded-core"):
            yocto.release_of(self.trees)


if __name__ == "__main__":
    unittest.main()
