"""What lies in folders of pictures."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from cnnx.checks.description import LONGEST_NAME

# What Windows, macOS' archives and network storage leave in folders of pictures. That of macOS begins with a dot.
LEFT_BEHIND = frozenset(["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"])


def is_passed_over(name: str) -> bool:
    """Whether an entry is hidden, or was left by a system, and so is not the user's."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def subfolders(folder: Path) -> list[Path]:
    """Its folders, sorted by name."""
    found = (Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and not is_passed_over(entry.name))
    return sorted(found, key=lambda path: path.name)


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and in those below it, each folder's sorted by name, its own before those below.

    A link to a folder is one of the files: to follow it might never end.
    """
    waiting = [folder]
    while waiting:
        below = []
        for entry in sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name):
            if is_passed_over(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(Path(entry.path))
            else:
                yield Path(entry.path)
        waiting += reversed(below)


def class_name(folder: Path) -> str:
    r"""The name of the class that a folder holds: its own, with bytes that are no UTF-8 as ``\xe9``.

    Accents are parts of their letters, whatever the file system that the folder came from makes of them.
    """
    name = os.fsencode(folder.name).decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", name)[:LONGEST_NAME]
