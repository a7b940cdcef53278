"""The boot selector starts the right slot whatever its environment says."""

import subprocess
import tempfile
import unittest
from pathlib import Path

SLOTS = Path(__file__).resolve().parent.parent / "bootloaders/selector/slots.sh"
# Stands in for the start of a slot: nothing can be started, so that all that would be tried is seen.
SCRIPT = '. "$1"\nstart() { echo "$1 A=$left_a B=$left_b good=$good"; }\nread_environment "$2"\nstart_slots\n'


def started(environment: str) -> list[str]:
    """The slots that are started, in this order, each with the environment that is saved before."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join(environment.split(";")))
        file.flush()
        done = subprocess.run(["sh", "-c", SCRIPT, "sh", SLOTS, file.name], check=True, capture_output=True, text=True)
        return done.stdout.splitlines()


class Slots(unittest.TestCase):
    def test_the_first_slot_with_tries_left_is_started_and_counted(self) -> None:
        self.assertEqual(started("BOOT_ORDER=A B;BOOT_A_LEFT=3;BOOT_B_LEFT=0;BOOT_GOOD=A")[0], "A A=2 B=0 good=A")
        self.assertEqual(started("BOOT_ORDER=B A;BOOT_A_LEFT=3;BOOT_B_LEFT=1;BOOT_GOOD=A")[0], "B A=3 B=0 good=A")
        self.assertEqual(started("BOOT_ORDER=B A;BOOT_A_LEFT=3;BOOT_B_LEFT=0;BOOT_GOOD=A")[0], "A A=2 B=0 good=A")
        self.assertEqual(started("BOOT_ORDER=A;BOOT_A_LEFT=a;BOOT_B_LEFT=3;BOOT_GOOD=B")[0], "A A=9 B=3 good=B")

    def test_a_slot_that_cannot_be_started_makes_room_for_the_next(self) -> None:
        self.assertEqual(
            started("BOOT_ORDER=B A;BOOT_A_LEFT=3;BOOT_B_LEFT=2;BOOT_GOOD=A")[:2],
            ["B A=3 B=1 good=A", "A A=2 B=1 good=A"],
        )

    def test_a_full_counter_of_the_slot_that_ran_means_that_it_is_good(self) -> None:
        marked = "BOOT_ORDER=B A;BOOT_A_LEFT=2;BOOT_B_LEFT=3;BOOT_LAST=B;BOOT_GOOD=A"
        self.assertEqual(started(marked)[0], "B A=2 B=2 good=B")

    def test_a_full_counter_of_a_slot_that_was_just_written_does_not(self) -> None:
        installed = "BOOT_ORDER=B A;BOOT_A_LEFT=3;BOOT_B_LEFT=3;BOOT_LAST=A;BOOT_GOOD=A"
        self.assertEqual(started(installed)[0], "B A=3 B=2 good=A")

    def test_the_last_resort_is_the_known_good_slot_and_gives_nothing_back(self) -> None:
        exhausted = "BOOT_ORDER=B A;BOOT_A_LEFT=0;BOOT_B_LEFT=0;BOOT_LAST=B;BOOT_GOOD=A"
        self.assertEqual(started(exhausted)[:2], ["A A=0 B=0 good=A", "B A=0 B=0 good=A"])

    def test_a_good_slot_that_was_marked_bad_since_is_not_the_first_resort(self) -> None:
        taken_out = "BOOT_ORDER=B;BOOT_A_LEFT=0;BOOT_B_LEFT=0;BOOT_LAST=B;BOOT_GOOD=A"
        self.assertEqual(started(taken_out)[:2], ["B A=0 B=0 good=A", "A A=0 B=0 good=A"])

    def test_rubbish_still_starts_both_slots(self) -> None:
        for environment in ("", "BOOT_ORDER=;BOOT_GOOD=", "BOOT_ORDER=X Y;BOOT_A_LEFT=zz;BOOT_B_LEFT=-1"):
            slots = [line.split()[0] for line in started(environment)]
            self.assertIn("A", slots, environment)
            self.assertIn("B", slots, environment)
