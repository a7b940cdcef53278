"""Programs that the builder runs."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from steps import BuildError

# How much of what a failed program wrote last is quoted.
QUOTED_CHARACTERS = 4000


class ProgramError(BuildError):
    """A program that failed. `output` is all that it wrote; the message quotes its end."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def run(command: list[str | Path], *, name: str = "", text: str = "", env: Mapping[str, str] | None = None) -> str:
    """Runs a program with `text` as its input and answers with what it wrote. Its failure is a `ProgramError` that
    quotes it, under `name` if the command itself says too little or too much."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=os.environ if env is None else env)  # fmt: skip
    if done.returncode != 0:
        said = done.stdout[-QUOTED_CHARACTERS:]
        raise ProgramError(f"{name or ' '.join(words)}\nfailed with {done.returncode}:\n{said}", done.stdout)
    return done.stdout
