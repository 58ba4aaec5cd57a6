import gzip
import struct

import numpy as np
import pytest

from cnnx import datasets

IDX_CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx(array):
    """The bytes of an IDX file."""
    header = bytes([0, 0, IDX_CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, images):
    """A folder with the four files of MNIST; the training images are gzipped."""
    labels = np.arange(5, dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(images[:2]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[:2]))
    return tmp_path


@pytest.mark.parametrize("dtype", IDX_CODES)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_files_of_every_type_give_back_their_array(tmp_path, rng, dtype, compress):
    array = rng.integers(-100, 100, (3, 2, 4)).astype(dtype)
    (tmp_path / "array").write_bytes(compress(idx(array)))
    read = datasets.read_idx(tmp_path / "array")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert read.flags.writeable


def announcing(*shape, code=0x08, content=b""):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an IDX file, .* got an empty file"),
        (b"\0\0\x08", "expected an IDX file"),
        (b"PNG!0000", "expected an IDX file"),
        (announcing(3, code=0x0A), "expected an IDX file"),
        (b"\0\0\x08\0", "expected an IDX file"),
        (b"\0\0\x08\x03\0\0\0\x01", "expected 12 bytes of sizes in the header, got 4"),
        (announcing(4, content=b"abc"), "expected 4 bytes after the header, .* got 3"),
        (announcing(2, content=b"abc"), "expected 2 bytes after the header, .* got more"),
        (announcing(2**32 - 1, 2**32 - 1, content=b"abc"), r"expected \d+ bytes after the header, .* got 3"),
        (gzip.compress(announcing(2**31, content=b"abc")), "expected 2147483648 bytes .* got 3"),
        (gzip.compress(announcing(4, content=b"abcd"))[:-9], "expected intact gzip data"),
        (gzip.compress(announcing(1, content=bytes(10**7))), "expected 1 bytes .* got more"),
        (b"\x1f\x8bnonsense", "expected intact gzip data"),
    ],
)
def test_a_damaged_idx_file_is_named_with_what_was_expected_and_what_came(tmp_path, content, message):
    (tmp_path / "bad.idx").write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)bad\.idx: {message}"):
        datasets.read_idx(tmp_path / "bad.idx")


def test_a_folder_of_idx_files_gives_scaled_images_with_a_channel_axis(folder, images):
    (X_train, y_train), (X_test, y_test) = datasets.load_folder(folder)
    np.testing.assert_allclose(X_train[..., 0], images / 255, rtol=1e-6)
    assert (X_train.shape, X_train.dtype) == ((5, 4, 3, 1), np.float32)
    np.testing.assert_array_equal(y_train, range(5))
    np.testing.assert_array_equal(X_test, X_train[:2])
    np.testing.assert_array_equal(y_test, [0, 1])


def test_a_folder_without_a_file_says_which_and_what_it_has(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte .*the folder has t10k-images"):
        datasets.load_folder(folder)


def test_images_and_labels_that_do_not_fit_together_are_an_error(folder):
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match="as many training images as labels, got 5 and 4"):
        datasets.load_folder(folder)


@pytest.mark.parametrize("letter", ["x", "X"])
def test_npz_files_in_both_spellings(tmp_path, images, letter):
    labels = np.arange(5)[:, np.newaxis]
    arrays = {f"{letter}_train": images, "y_train": labels, f"{letter}_test": images[:2], "y_test": labels[:2]}
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    (X_train, y_train), (X_test, y_test) = datasets.load_npz(tmp_path / "data.npz")
    np.testing.assert_allclose(X_train[..., 0], images / 255, rtol=1e-6)
    np.testing.assert_array_equal(y_train, range(5))
    assert len(X_test) == len(y_test) == 2


def npz(tmp_path, images, **changes):
    arrays = {"X_train": images, "y_train": np.arange(5), "X_test": images, "y_test": np.arange(5)} | changes
    path = tmp_path / "data.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "y_test missing; the file has X_test, X_train, y_train"),
        ({"y_train": np.array([None] * 5)}, "expected an intact .npz file, got: Object arrays cannot be loaded"),
        ({"y_train": np.zeros(5)}, "expected labels as integers"),
        ({"y_train": np.zeros(4, int)}, "as many training images as labels, got 5 and 4"),
        ({"X_test": np.zeros((5, 9, 3), np.uint8)}, "training and test images of one shape"),
        ({"X_train": np.zeros((5, 3), np.uint8)}, "expected images of shape"),
        ({"X_train": np.zeros((5, 4, 3), int)}, "whose range is known, got int64"),
    ],
)
def test_an_npz_file_that_is_no_data_set_is_named(tmp_path, images, changes, message):
    with pytest.raises(ValueError, match=rf"data\.npz.*{message}"):
        datasets.load_npz(npz(tmp_path, images, **changes))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short"])
def test_a_damaged_npz_file_is_named(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.npz: expected an"):
        datasets.load_npz(tmp_path / "data.npz")


def test_load_takes_the_word_digits_a_folder_and_an_npz_file(folder, images):
    assert datasets.load("digits")[0] == "digits"
    assert datasets.load(folder)[0] == folder.name
    assert datasets.load(npz(folder, images))[0] == "data"
    with pytest.raises(FileNotFoundError, match="expected the word digits"):
        datasets.load(folder / "nothing")
