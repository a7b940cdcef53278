"""What is in the cache was built completely, once, from the inputs that name it."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import cache  # noqa: E402


class Entries(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        patch = mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder.name})
        patch.start()
        self.addCleanup(patch.stop)
        self.builds = 0

    def make(self, draft: Path) -> None:
        self.builds += 1
        (draft / "result").write_text("done")

    def test_an_entry_is_built_once_for_its_inputs(self) -> None:
        first = cache.entry("thing", cache.Digest().text("input", "1"), self.make)
        again = cache.entry("thing", cache.Digest().text("input", "1"), self.make)
        other = cache.entry("thing", cache.Digest().text("input", "2"), self.make)
        self.assertEqual((first / "result").read_text(), "done")
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)
        self.assertEqual(self.builds, 2)

    def test_a_failed_build_leaves_nothing_and_is_tried_again(self) -> None:
        def fail(draft: Path) -> None:
            (draft / "half").write_text("half")
            raise RuntimeError

        digest = cache.Digest().text("input", "1")
        with self.assertRaises(RuntimeError):
            cache.entry("thing", digest, fail)
        self.assertEqual([path for path in cache.folder().iterdir() if path.is_dir()], [])
        self.assertTrue((cache.entry("thing", digest, self.make) / "result").exists())

    def test_the_draft_of_a_killed_build_goes_and_the_oldest_entries_too(self) -> None:
        (cache.folder() / "thing-killed.draft").mkdir()
        for number in range(cache.KEPT_ENTRIES + 3):
            entry = cache.entry("thing", cache.Digest().text("input", str(number)), self.make)
            os.utime(entry, (number, number))
        cache.entry("thing", cache.Digest().text("input", "last"), self.make)
        names = [path.name for path in cache.folder().iterdir() if path.is_dir()]
        self.assertEqual(len(names), cache.KEPT_ENTRIES)
        self.assertNotIn("thing-killed.draft", names)
        self.assertTrue((cache.entry("thing", cache.Digest().text("input", "last"), self.make)).exists())

    def test_a_digest_tells_names_and_values_apart(self) -> None:
        digests = {
            cache.Digest().text("a", "bc").short(),
            cache.Digest().text("ab", "c").short(),
            cache.Digest().text("a", "b").text("c", "").short(),
        }
        self.assertEqual(len(digests), 3)


if __name__ == "__main__":
    unittest.main()
