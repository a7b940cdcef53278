"""The agent is built again when what it is made from has changed, and only then."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import board  # noqa: E402
import toolbox  # noqa: E402
from steps import BuildError  # noqa: E402

import agent  # noqa: E402


class Builds(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.repository = Path(folder.name) / "repository"
        for name in agent.SOURCES:
            (self.repository / name).mkdir(parents=True)
            (self.repository / name / "lib.rs").write_text(name)
        for name in agent.MANIFESTS:
            (self.repository / name).write_text(name)
        self.packages = Path(folder.name) / "root/var/lib/dpkg/status"
        self.packages.parent.mkdir(parents=True)
        self.packages.write_text("rustc 1.85")
        self.built: list[str] = []
        self.meanwhile = lambda: None
        for patch in [
            mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder.name}),
            mock.patch.object(toolbox, "REPOSITORY", self.repository),
            mock.patch.object(toolbox, "ensure", lambda _: Path(folder.name) / "root"),
            mock.patch.object(agent, "_cargo", self.cargo),
            mock.patch.object(agent, "_forget", lambda *_: None),
        ]:
            patch.start()
            self.addCleanup(patch.stop)
        os.environ.pop("HOMEPORT_COMPILER", None)

    def cargo(self, target: board.Board, *_: object) -> Path:
        self.built.append(target.name)
        self.meanwhile()
        result = self.repository / "homeport-agent"
        result.write_text(f"build {len(self.built)}")
        return result

    def test_the_same_sources_are_built_once_for_each_board(self) -> None:
        first = agent.agent(board.load("armv5"))
        self.assertEqual(agent.agent(board.load("armv5")), first)
        agent.agent(board.load("armv7"))
        self.assertEqual(self.built, ["armv5", "armv7"])
        self.assertEqual(first.read_text(), "build 1")

    def test_a_changed_source_manifest_or_setting_is_built_anew(self) -> None:
        target = board.load("i386")
        agent.agent(target)
        (self.repository / "ota" / "lib.rs").write_text("changed")
        agent.agent(target)
        (self.repository / "Cargo.lock").write_text("changed")
        agent.agent(target)
        with mock.patch.dict(os.environ, {"SOURCE_DATE_EPOCH": "1"}):
            agent.agent(target)
        self.packages.write_text("rustc 1.86")
        agent.agent(target)
        self.assertEqual(len(self.built), 5)

    def test_sources_that_change_meanwhile_leave_nothing_in_the_cache(self) -> None:
        target = board.load("armv5")
        self.meanwhile = lambda: (self.repository / "agent" / "lib.rs").write_text("changed")
        with self.assertRaisesRegex(BuildError, "changed while it was built"):
            agent.agent(target)
        (self.repository / "agent" / "lib.rs").write_text("agent")
        self.meanwhile = lambda: None
        agent.agent(target)
        self.assertEqual(len(self.built), 2)

    def test_this_machines_compiler_is_always_asked(self) -> None:
        with mock.patch.dict(os.environ, {"HOMEPORT_COMPILER": "host"}):
            agent.agent(board.load("x86_64"))
            agent.agent(board.load("x86_64"))
        self.assertEqual(len(self.built), 2)


class Targets(unittest.TestCase):
    def test_every_board_has_a_compiler(self) -> None:
        for folder in board.BOARDS.glob("*/board.toml"):
            self.assertIn(board.load(folder.parent.name).rust_target, agent.BINUTILS)

    def test_an_unknown_board_names_those_that_there_are(self) -> None:
        with self.assertRaisesRegex(BuildError, "no board vax: there are armv5, armv7, i386, x86_64"):
            board.load("vax")


if __name__ == "__main__":
    unittest.main()
