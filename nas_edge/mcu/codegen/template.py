"""The fixed text of generated files lies in `templates/`, with @names@ where a network's own go."""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"@([a-z_]+)@")


def fill(template: str, **values: object) -> str:
    """A template with its names replaced. Raises KeyError for a name without a value."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return _NAME.sub(lambda found: str(values[found[1]]), text)
