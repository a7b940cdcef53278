"""The boot script starts the right slot whatever a power cut left of its environment. It runs in the real U-Boot."""

import dataclasses
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import board  # noqa: E402
import partitions  # noqa: E402
import toolbox  # noqa: E402
import uboot  # noqa: E402
from partitions import Partition  # noqa: E402

# U-Boot needs a second; the machine may be busy.
_TIME_LIMIT = "120"
_COPY_BYTES = 0x1000
_OFFSETS = (0, 0x80000)
_TORN = b"BOOT_ORDER=B A".ljust(_COPY_BYTES, b"\0")
_STARTED = re.compile(r"boot: slot (\w) \(order")


@dataclasses.dataclass(frozen=True)
class Copy:
    """One copy of the environment."""

    writes: int
    variables: dict[str, str]

    def packed(self) -> bytes:
        text = "".join(f"{name}={value}\0" for name, value in self.variables.items()) + "\0"
        data = text.encode().ljust(_COPY_BYTES - 5, b"\xff")
        return struct.pack("<IB", zlib.crc32(data), self.writes) + data


def unpacked(raw: bytes) -> Copy | None:
    checksum, writes = struct.unpack("<IB", raw[:5])
    if zlib.crc32(raw[5:]) != checksum:
        return None
    lines = raw[5:].split(b"\0\0")[0].decode().split("\0")
    return Copy(writes, dict(line.split("=", 1) for line in lines))


def variables(order: str, a: int, b: int, **others: str) -> dict[str, str]:
    return {"BOOT_ORDER": order, "BOOT_A_LEFT": str(a), "BOOT_B_LEFT": str(b)} | others


@unittest.skipUnless(os.geteuid() == 0, "the toolbox needs root")
class BootScript(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.board = board.load("armv7")
        self.disk = Path(folder.name) / "disk"
        # The slots are empty: whatever is tried cannot be loaded, and what is tried next is seen too.
        layout = [*uboot.PARTITIONS, Partition("rootfs-a", 1), Partition("rootfs-b", 1)]
        self.offsets = partitions.create(self.disk, layout)
        uboot.install(self.board, self.disk, self.offsets, Path(folder.name))

    def tried(self, first: bytes, second: bytes) -> list[str]:
        """The slots that are tried before U-Boot resets the machine."""
        self.write(first, second)
        firmware = uboot.firmware(self.board)
        machine = ["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-m", "256"]
        machine += ["-machine", "virt,highmem=off,gic-version=2", "-cpu", "cortex-a15"]
        machine += ["-bios", f"{firmware}/u-boot.bin"]
        machine += ["-drive", f"if=pflash,unit=1,format=raw,readonly=on,file={firmware}/flash.img"]
        machine += ["-drive", f"if=none,id=disk,format=raw,file={self.disk}", "-device", "virtio-blk-device,drive=disk"]
        command = toolbox.command(["timeout", _TIME_LIMIT, "qemu-system-arm", *machine])
        # Whoever holds a key down, or a line that rustles, changes nothing.
        noise = b"\x03 \r\n" * 50
        done = subprocess.run(command, input=noise, capture_output=True, env=toolbox.environment(), check=True)
        return _STARTED.findall(done.stdout.decode())

    def write(self, *copies: bytes) -> None:
        with self.disk.open("r+b") as opened:
            for offset, copy in zip(_OFFSETS, copies, strict=True):
                opened.seek(self.offsets["environment"] + offset)
                opened.write(copy)

    def copies(self) -> list[Copy | None]:
        content = self.disk.read_bytes()
        starts = [self.offsets["environment"] + offset for offset in _OFFSETS]
        return [unpacked(content[start : start + _COPY_BYTES]) for start in starts]

    def test_the_newer_copy_counts_and_the_older_one_is_written(self) -> None:
        a_first, b_first = variables("A B", 3, 3), variables("B A", 3, 3)
        for newer, older, next_count in [(6, 5, 7), (0xA0, 0x9F, 0xA1), (0, 0xFF, 1), (0xFF, 0xFE, 0)]:
            expected = Copy(next_count, variables("B A", 3, 2, BOOT_LAST="B"))
            new, old = Copy(newer, b_first), Copy(older, a_first)
            self.assertEqual(self.tried(new.packed(), old.packed()), ["B"])
            self.assertEqual(self.copies(), [new, expected])
            self.assertEqual(self.tried(old.packed(), new.packed()), ["B"])
            self.assertEqual(self.copies(), [expected, new])

    def test_a_torn_copy_is_written_over(self) -> None:
        whole = Copy(9, variables("A B", 3, 3))
        expected = Copy(10, variables("A B", 2, 3, BOOT_LAST="A"))
        self.assertEqual(self.tried(_TORN, whole.packed()), ["A"])
        self.assertEqual(self.copies(), [expected, whole])
        self.assertEqual(self.tried(whole.packed(), _TORN), ["A"])
        self.assertEqual(self.copies(), [whole, expected])

    def test_without_a_readable_copy_both_slots_have_their_tries(self) -> None:
        self.assertEqual(self.tried(_TORN, _TORN), ["A"])
        self.assertIn(Copy(1, variables("A B", 2, 3, BOOT_LAST="A")), self.copies())

    def test_a_slot_without_tries_makes_room_for_the_next(self) -> None:
        self.assertEqual(self.after(variables("B A", 3, 0)), ["A"])

    def test_a_full_counter_of_the_slot_that_ran_means_that_it_is_good(self) -> None:
        self.after(variables("B A", 2, 3, BOOT_LAST="B", BOOT_GOOD="A"))
        self.assertIn(Copy(2, variables("B A", 2, 2, BOOT_LAST="B", BOOT_GOOD="B")), self.copies())

    def test_a_full_counter_of_a_slot_that_was_just_written_does_not(self) -> None:
        self.after(variables("B A", 2, 3, BOOT_LAST="A", BOOT_GOOD="A"))
        self.assertIn(Copy(2, variables("B A", 2, 2, BOOT_LAST="B", BOOT_GOOD="A")), self.copies())

    def test_the_last_resort_is_the_known_good_slot_and_gives_nothing_back(self) -> None:
        self.assertEqual(self.after(variables("B A", 0, 0, BOOT_LAST="B", BOOT_GOOD="A"))[0], "A")
        for copy in self.copies():
            self.assertIsNotNone(copy)
            self.assertEqual((copy.variables["BOOT_A_LEFT"], copy.variables["BOOT_B_LEFT"]), ("0", "0"))

    def test_a_good_slot_that_was_marked_bad_since_is_not_the_first_resort(self) -> None:
        self.assertEqual(self.after(variables("B", 0, 0, BOOT_LAST="B", BOOT_GOOD="A"))[:2], ["B", "A"])

    def test_rubbish_still_tries_both_slots(self) -> None:
        for rubbish in ({"BOOT_ORDER": "A B"}, {"BOOT_GOOD": "x"}, variables("X ; reset", 3, 3)):
            self.assertLessEqual({"A", "B"}, set(self.after(rubbish)), rubbish)

    def after(self, variables: dict[str, str]) -> list[str]:
        return self.tried(Copy(1, variables).packed(), _TORN)


if __name__ == "__main__":
    unittest.main()
