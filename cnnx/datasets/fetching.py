"""Known data sets, fetched once and kept. Needs pooch, the extra `datasets`.

What comes is compared with the SHA-256 that stands here before it is read. A download that breaks off goes on where it
stopped, when it is asked for again.
"""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnx._typing import Array
from cnnx.datasets.files import PathLike, Splits, as_images, as_labels, as_splits, load_folder, read_idx_stream

if TYPE_CHECKING:
    import tarfile

SECONDS_WITHOUT_A_BYTE = 30
CHUNK = 1 << 16
# CIFAR-10's binary records: the label, then the planes of red, green and blue.
CIFAR_SHAPE = (3, 32, 32)
CIFAR_TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
# More than any of these data sets holds.
MOST_BYTES = 1 << 30


class Source(NamedTuple):
    """Where a data set comes from.

    Attributes
    ----------
    base : str
        Beginning of the files' addresses.
    files : dict of str to str
        SHA-256 of each.
    read : callable
        Makes the arrays of the folder that the files are in.
    class_names : tuple of str
        In the order of the labels.
    """

    base: str
    files: dict[str, str]
    read: Callable[[Path], Splits]
    class_names: tuple[str, ...]


def fetch(name: str, folder: PathLike | None = None, verbose: bool = True) -> Splits:
    """Fetch a data set, or read it from where it was fetched to before.

    Parameters
    ----------
    name : {'mnist', 'fashion-mnist', 'cifar-10', 'kmnist', 'emnist-letters'}
    folder : str or path-like, optional
        Where the files are kept. By default ``cnnx/NAME`` in the folder for caches that the platform has, such as
        ``~/.cache`` on Linux.
    verbose : bool
        Show a bar while a file comes.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuples of ndarray
        Images (n, height, width, channels), float32 from 0 to 1, and labels (n,), int64 from 0 on; `CLASS_NAMES` says
        what they stand for. EMNIST's letters are upright, and counted from 0.

    Raises
    ------
    ImportError
        Without pooch.
    ValueError
        If there is no data set of this name, or what came is not what it should be.
    OSError
        If a file cannot be fetched, or not be written. What has come of it is kept; the next call goes on from there.
    """
    if name not in SOURCES:
        raise ValueError(f"fetch: expected one of {', '.join(SOURCES)}, got {name!r}")
    try:
        import pooch
    except ImportError:
        raise ImportError("fetching data sets needs pooch: python -m pip install 'cnnx[datasets]'") from None
    source = SOURCES[name]
    place = Path(pooch.os_cache("cnnx") / name if folder is None else folder)
    for file, checksum in source.files.items():
        _fetch_file(f"{source.base}{file}", place / file, checksum, verbose)
    return source.read(place)


def _fetch_file(url: str, path: Path, checksum: str, verbose: bool) -> None:
    """Have a file of this checksum at this place."""
    import pooch

    part, logger = path.with_name(f"{path.name}.part"), pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # the bar says enough
    try:
        pooch.retrieve(url, f"sha256:{checksum}", path.name, path.parent, downloader=_Continuing(part, verbose))
    except ValueError as error:  # another checksum
        raise ValueError(f"{url}: expected the SHA-256 {checksum} of what came: {error}") from None
    except OSError as error:  # those of requests are, too
        hint = f"files that were fetched elsewhere can be put into {path.parent}"
        raise OSError(f"{url}: could not be fetched: {error}; {hint}") from None
    finally:
        logger.setLevel(level)
    part.unlink(missing_ok=True)


class _Continuing:
    """A downloader for pooch that goes on where an earlier one stopped."""

    def __init__(self, part: Path, verbose: bool) -> None:
        self.part, self.verbose = part, verbose

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        """Fetch the rest into the part, and move the whole to where pooch wants it."""
        import requests

        done = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        with requests.get(url, stream=True, headers=headers, timeout=SECONDS_WITHOUT_A_BYTE) as response:
            whole = response.status_code == requests.codes.requested_range_not_satisfiable
            if not whole:
                response.raise_for_status()
                self._write(response, url)
        # Were it another file's part, the checksum would say so; the next call must not begin with it again.
        os.replace(self.part, os.fspath(output_file))

    def _write(self, response: Any, url: str) -> None:
        from tqdm import tqdm

        added = response.status_code == 206
        done = self.part.stat().st_size if added else 0
        length = int(response.headers.get("Content-Length", 0))
        bar = tqdm(total=done + length, initial=done, unit="B", unit_scale=True, desc=url, disable=not self.verbose)
        with bar, open(self.part, "ab" if added else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                done += file.write(chunk)
                bar.update(len(chunk))
        if length and done < bar.total:
            raise OSError(f"expected {bar.total} bytes, got {done}")


def _read_cifar(folder: Path) -> Splits:
    """CIFAR-10's binary version, from its archive."""
    import tarfile

    with tarfile.open(folder / "cifar-10-binary.tar.gz") as archive:
        parts = [[_cifar_records(archive, name) for name in names] for names in (CIFAR_TRAINING, ("test_batch.bin",))]
    train, test = (
        (as_images(np.concatenate([images for images, _ in part]), "cifar-10"), np.concatenate([y for _, y in part]))
        for part in parts
    )
    return as_splits(train, test, "cifar-10")


def _cifar_records(archive: tarfile.TarFile, name: str) -> tuple[Array, Array]:
    """Images (n, 32, 32, 3) and labels (n,) of one of its files."""
    file = archive.extractfile(f"cifar-10-batches-bin/{name}")
    if file is None:
        raise ValueError(f"cifar-10: {name}: expected a file in the archive")
    records = np.frombuffer(file.read(MOST_BYTES), np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    images = records[:, 1:].reshape(-1, *CIFAR_SHAPE).transpose(0, 2, 3, 1)
    return images, as_labels(records[:, 0], name)


def _read_letters(folder: Path) -> Splits:
    """EMNIST's letters; its images lie on their side, and its labels count from 1."""
    with zipfile.ZipFile(folder / "gzip.zip") as archive:
        parts = []
        for part in ("train", "test"):
            images, labels = (_member(archive, f"{part}-{kind}") for kind in ("images-idx3", "labels-idx1"))
            parts.append((as_images(images.transpose(0, 2, 1), part), as_labels(labels, part) - 1))
    return as_splits(parts[0], parts[1], "emnist-letters")


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    member = f"gzip/emnist-letters-{name}-ubyte.gz"
    with archive.open(member) as packed, gzip.GzipFile(fileobj=packed) as stream:
        return read_idx_stream(stream, member, MOST_BYTES)


DIGITS = tuple("0123456789")
CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")

# The checksums of MNIST and Fashion-MNIST were computed of files with the MD5 sums that their authors published; those
# of the others are as https://github.com/tensorflow/datasets has them (url_checksums).
SOURCES = {
    "mnist": Source(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        load_folder,
        DIGITS,
    ),
    "fashion-mnist": Source(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        load_folder,
        CLOTHES,
    ),
    "cifar-10": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        _read_cifar,
        THINGS,
    ),
    "kmnist": Source(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        {
            "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
        load_folder,
        KUZUSHIJI,
    ),
    "emnist-letters": Source(
        "https://biometrics.nist.gov/cs_links/EMNIST/",
        {"gzip.zip": "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"},
        _read_letters,
        LETTERS,
    ),
}
CLASS_NAMES = {name: source.class_names for name, source in SOURCES.items()}
