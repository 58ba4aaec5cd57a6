"""Names that others gave, as they can be shown: classes and files may be called anything."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

# Characters of a name that are shown.
SHOWN = 48
# Controls, halves of a pair, and what ends a line: nothing can show them.
INVISIBLE = ("Cc", "Cs", "Zl", "Zp")


def visible(text: str, longest: int = SHOWN) -> str:
    """The text with what cannot be shown escaped, and its middle left out where it is long."""
    if len(text) > longest:
        begin = (longest - 1) * 2 // 3
        text = f"{text[:begin]}…{text[len(text) - (longest - 1 - begin) :]}"
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in INVISIBLE else c for c in text)


def shown_names(names: Sequence[str] | None, classes: int) -> list[str]:
    """What each class is called: its name, made visible and different from all others, or its number."""
    if names is None:
        return [str(label) for label in range(classes)]
    shown = [visible(name) for name in names]
    times = Counter(shown)
    return [f"{name} ({label})" if times[name] > 1 else name for label, name in enumerate(shown)]
