"""The page: one file that fetches nothing. Needs Jinja2, whose escaping is on: all names are somebody else's."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 as 97.2 %, with a space that does not break."""
    return f"{100 * share:.{digits}f}\u00a0%"


def whole_percent(share: float) -> str:
    """The same without digits; what is not nothing is not called so."""
    return "<1\u00a0%" if 0 < share <= 0.005 else percent(share, 0)


def depth(share: float, right: bool) -> str:
    """How deep a cell's colour is, from 0 to 1; of mistakes, the rare ones can be told from each other, too."""
    return f"{share if right or share > 0.5 else math.sqrt(share / 2):.3f}"


def render(content: Mapping[str, Any]) -> bytes:
    """The page of this content, in UTF-8."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent, whole_percent=whole_percent, depth=depth)
    script = _source("page.js")
    # The one script that may run: a browser refuses any other, wherever it may have come from.
    fingerprint = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    template = environment.from_string(_source("page.html.jinja"))
    page = template.render(content, style=Markup(_source("page.css")), script=Markup(script), fingerprint=fingerprint)
    return page.encode("utf-8", "xmlcharrefreplace")


def size_in_page(value: Any) -> int:
    """Bytes of a value in the page's data."""
    from jinja2.utils import htmlsafe_json_dumps

    return len(htmlsafe_json_dumps(value))


def _source(name: str) -> str:
    return files("cnnx.reporting").joinpath(name).read_text(encoding="utf-8")
