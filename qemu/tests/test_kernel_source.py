"""A line of a kernel's configuration that has no effect is noticed."""

import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import kernel_source  # noqa: E402

MADE = "CONFIG_EXT4_FS=y\n# CONFIG_SOUND is not set\nCONFIG_HZ=100\nCONFIG_USB=m\n"


class Configuration(unittest.TestCase):
    def test_what_took_effect_is_not_reported(self) -> None:
        wanted = "# a comment\n\nCONFIG_EXT4_FS=y\n# CONFIG_SOUND is not set\n# CONFIG_UNKNOWN is not set\n"
        self.assertEqual(kernel_source.lost(wanted, MADE), [])

    def test_what_did_not_is(self) -> None:
        wanted = "CONFIG_HZ=1000\nCONFIG_NBD=y\n# CONFIG_USB is not set\nCONFIG_EXT4_FS=y\n"
        self.assertEqual(
            kernel_source.lost(wanted, MADE), ["CONFIG_HZ=1000", "CONFIG_NBD=y", "# CONFIG_USB is not set"]
        )
