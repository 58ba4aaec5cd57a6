"""Files that are whole or not there: written beside their place, flushed to the disk, then moved to it.

Whatever happens meanwhile, a path leads to the old content or to the new. What a killed process leaves behind is called
``.cnnx-*.part`` and locked by nobody: the next save into the same folder removes it.
"""

import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TypeAlias

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

PREFIX, SUFFIX = ".cnnx-", ".part"
# Where files cannot be locked: the age, in seconds, from which one is left over.
OLD = 3600.0
FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# What a file system says of a folder that cannot be flushed by itself.
NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM)

Chunk: TypeAlias = bytes | memoryview


def previous_of(path: str | os.PathLike[str]) -> str:
    """Where `write_file` keeps the file that it replaces."""
    return f"{os.path.realpath(path)}.previous"


def write_file(path: str | os.PathLike[str], chunks: Iterable[Chunk], keep_previous: bool = False) -> None:
    """Make a file's content these bytes, all of them or none.

    A symbolic link stays one, and what it leads to is replaced; the file keeps its mode and, where that is allowed, its
    owner. Devices and pipes are written into.

    Parameters
    ----------
    path : str or path-like
    chunks : iterable of bytes or memoryview
    keep_previous : bool
        Keep the file that is replaced, at `previous_of`; on a file system without hard links there is none.

    Raises
    ------
    OSError
        If it cannot be written; it names `path`, which is as it was before.
    """
    given = os.fspath(path)
    try:
        try:
            old = os.stat(given)
        except FileNotFoundError:
            old = None
        if old is not None and not stat.S_ISREG(old.st_mode):
            _write_into(given, chunks)
        elif old is not None and not os.access(given, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            _replace(os.path.realpath(given), old, chunks, keep_previous)
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{given}: {error}") from None
        raise OSError(error.errno, error.strerror, given) from None


def _write_into(path: str, chunks: Iterable[Chunk]) -> None:
    """Of a pipe that nobody reads, an error at once."""
    try:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        reason = "nobody reads from this pipe" if error.errno == errno.ENXIO else error.strerror
        raise OSError(error.errno, reason) from None
    with open(descriptor, "wb") as file:
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
        for chunk in chunks:
            file.write(chunk)


def _replace(target: str, old: os.stat_result | None, chunks: Iterable[Chunk], keep_previous: bool) -> None:
    folder = os.path.dirname(target)
    _clear(folder)
    descriptor, unfinished = _create(folder, 0o666 if old is None else 0o600)
    spare = os.path.join(folder, _new_name())
    try:
        with open(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            if old is not None:
                _make_alike(unfinished, old)
            os.fsync(descriptor)
            if keep_previous:
                with suppress(OSError):
                    os.link(target, spare)
            if fcntl is None:
                file.close()  # Windows moves no open file; elsewhere the lock is held until it has moved
            os.replace(unfinished, target)
        if keep_previous:
            with suppress(OSError):
                os.replace(spare, previous_of(target))
        _flush_folder(folder)
    except BaseException:
        for name in (unfinished, spare):
            with suppress(OSError):
                os.remove(name)
        raise


def _make_alike(path: str, old: os.stat_result) -> None:
    """Owner and mode of the file that is replaced."""
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(path, old.st_uid, old.st_gid)
    os.chmod(path, stat.S_IMODE(old.st_mode))


def _new_name() -> str:
    """One that nobody can foresee, and so plant a file under."""
    return f"{PREFIX}{secrets.token_hex(16)}{SUFFIX}"


def _create(folder: str, mode: int) -> tuple[int, str]:
    """A new file, locked for as long as it is open."""
    while True:
        path = os.path.join(folder, _new_name())
        descriptor = os.open(path, FLAGS | os.O_CREAT | os.O_EXCL, mode)
        if fcntl is None:
            return descriptor, path
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.fstat(descriptor).st_nlink:
                return descriptor, path
        except OSError:
            os.close(descriptor)  # else it would stay locked, and nobody could clear it away
            with suppress(OSError):
                os.remove(path)
            raise
        os.close(descriptor)  # somebody else's `_clear` was faster than the lock


def _clear(folder: str) -> None:
    """Remove what killed processes have left in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _remove_left_over(entry.path)


def _remove_left_over(path: str) -> None:
    if fcntl is None:
        if time.time() - os.stat(path).st_mtime > OLD:
            os.remove(path)
        return
    descriptor = os.open(path, FLAGS | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError while somebody writes it
        os.remove(path)
    finally:
        os.close(descriptor)


def _flush_folder(folder: str) -> None:
    """So that the new name, too, outlasts a power cut."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise
