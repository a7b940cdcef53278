"""Texts with placeholders like @DEVICE@, which whoever makes an image fills in."""

import re
from collections.abc import Mapping
from pathlib import Path

from steps import BuildError

_PLACEHOLDER = re.compile("@([A-Z_]+)@")


def fill(template: Path, values: Mapping[str, str]) -> str:
    """The template's text with its placeholders' values; one without a value is a `BuildError`."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise BuildError(f"{template}: nothing is known about {found[0]}")
        return values[found[1]]

    return _PLACEHOLDER.sub(value, template.read_text())
