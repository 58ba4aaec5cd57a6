"""Checks of files that users name, made before they are read."""

import os
import stat
from typing import BinaryIO

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read its bytes; a pipe or device, which might never end, is refused without waiting.

    Raises
    ------
    ValueError
        If it is a pipe, a device or a socket.
    OSError
        If it cannot be opened; of a folder, IsADirectoryError.
    """
    target = os.fspath(path)
    file = open(target, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller's to close
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise ValueError(f"{target}: expected a regular file, got {KINDS.get(stat.S_IFMT(mode), 'something else')}")
    return file


def _without_waiting(path: str, flags: int) -> int:
    """For a writer at the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
