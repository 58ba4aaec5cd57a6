"""Data sets: the digits that ship inside the package, known ones to fetch, readers of IDX, .npz and CSV files."""

import os
from pathlib import Path

from cnnx.datasets.digits import load_digits
from cnnx.datasets.fetching import CLASS_NAMES, fetch
from cnnx.datasets.files import PathLike, Splits, has_idx, is_npz, load_folder, load_npz, read_idx
from cnnx.datasets.tables import find_csv_pair, load_csv

__all__ = ["CLASS_NAMES", "fetch", "is_npz", "load", "load_csv", "load_digits", "load_folder", "load_npz", "read_idx"]


def load(source: PathLike) -> tuple[str, Splits]:
    """Load a data set by the word that the command line takes.

    Parameters
    ----------
    source : str or path-like
        The word ``digits``, a folder of IDX files (`load_folder`), one with two CSV files (`load_csv`), in whose names
        are ``train`` and ``test``, or an .npz file (`load_npz`). A folder called digits is reached as ``./digits``.

    Returns
    -------
    name : str
        A name for the data set: ``digits``, or the folder's or file's own without its ending.
    splits : tuple of tuples of ndarray
        ``(X_train, y_train), (X_test, y_test)``.

    Raises
    ------
    ValueError
        If the data is damaged or its parts do not fit together.
    OSError
        If it does not exist or cannot be read.

    Examples
    --------
    >>> name, (train, test) = load("digits")
    >>> name, len(test[0])
    ('digits', 359)
    """
    if source == "digits":
        return "digits", load_digits()
    path = Path(source)
    if path.is_dir():
        pair = None if has_idx(path) else find_csv_pair(path)
        return name_of(path), load_folder(path) if pair is None else (load_csv(pair[0]), load_csv(pair[1]))
    if not path.exists():
        raise FileNotFoundError(
            f"{os.fspath(source)}: expected the word digits, a folder of IDX files or an .npz file; "
            "there is no such file or folder"
        )
    return name_of(path), load_npz(path)


def name_of(path: Path) -> str:
    """A name for the data in a file or folder: its own, without the ending of a file."""
    if path.is_dir():
        return path.resolve().name or "data"
    return path.with_suffix("").stem if path.suffix == ".gz" else path.stem
