import gzip
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from idx import CODES, idx

from cnnx import datasets


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


@pytest.mark.parametrize("dtype", CODES)
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


def header(
    text="{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 3), }", data=bytes(60), version=1, length=None
):
    """The bytes of an array as NumPy writes it, with any header."""
    text = (text if isinstance(text, bytes) else text.encode()).ljust(118) + b"\n"
    width = 2 if version == 1 else 4
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + (len(text) if length is None else length).to_bytes(width, "little")
        + text
        + data
    )


def archive(path, method=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def labels():
    return header("{'descr': '<i8', 'fortran_order': False, 'shape': (5,), }", bytes(40))


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 3), }",
        "{'shape':(5,4,3),'descr':'|u1','fortran_order':False}",
        " { 'fortran_order' : False , 'shape' : ( 5 , 4 , 3 , ) , 'descr' : '|u1' , } ",
    ],
)
def test_npz_members_of_every_version_and_spelling_are_read(tmp_path, version, text):
    good = header(text, bytes(range(60)), version)
    path = archive(tmp_path / "data.npz", X_train=good, y_train=labels(), X_test=good, y_test=labels())
    (X, _), _ = datasets.load_npz(path)
    np.testing.assert_allclose(X.ravel() * 255, range(60), rtol=1e-5)


def test_npz_members_with_columns_first_and_of_every_dtype_are_read(tmp_path, rng):
    for dtype in ("u1", ">u2", "<u2", "f2", ">f4", "f8", "?"):
        images = np.asfortranarray(rng.integers(0, 2, (5, 4, 3)).astype(dtype))
        (X, y), _ = datasets.load_npz(npz(tmp_path, images, y_train=np.arange(5, dtype=">i4")))
        most = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
        np.testing.assert_allclose(X[..., 0] * most, images, rtol=1e-5)
        np.testing.assert_array_equal(y, range(5))
        assert X.flags.writeable


def changed(**entries):
    """A header with other entries, given as text."""
    entries = {"descr": "'|u1'", "fortran_order": "False", "shape": "(5, 4, 3)"} | entries
    return header("{" + ", ".join(f"'{name}': {value}" for name, value in entries.items()) + "}")


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (b"", "X_train.npy: expected an array as NumPy writes it, got b''"),
        (b"hello", "X_train.npy: expected an array as NumPy writes it, got b'hello'"),
        (b"\x93NUMPY", "X_train.npy: expected an array as NumPy writes it"),
        (b"\x80\x04cos\nsystem\n.", "X_train.npy: expected an array as NumPy writes it"),
        (header(version=0), "X_train.npy: expected an array as NumPy writes it"),
        (header(version=4), "X_train.npy: expected an array as NumPy writes it"),
        (header(length=60_000), "X_train.npy: header: expected at most 10000 bytes, got 60000"),
        (header(version=2, length=2**32 - 1), "X_train.npy: header: expected at most 10000 bytes"),
        (header(length=200), "X_train.npy: header: expected descr, fortran_order and shape as NumPy writes them"),
        (header(length=9), "X_train.npy: header: expected descr"),
        (header(length=0), "X_train.npy: header: expected descr"),
        (header("(" * 100), "X_train.npy: header: expected descr"),
        (header("{" * 100), "X_train.npy: header: expected descr"),
        (header("{'a': " * 15), "X_train.npy: header: expected descr"),
        (header(b"\xff" * 100), "X_train.npy: header: expected descr"),
        (header("{}"), "X_train.npy: header: expected descr"),
        (header("__import__('os').abort()"), "X_train.npy: header: expected descr"),
        (changed(more="1"), "X_train.npy: header: expected descr"),
        (changed(shape="(5, 4, 3) + (1,)"), "X_train.npy: header: expected descr"),
        (changed(shape="'all'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(shape="60"), "X_train.npy: header: expected descr"),
        (changed(shape="(5, -4, 3)"), "X_train.npy: header: expected descr"),
        (changed(shape="(5.0, 4, 3)"), "X_train.npy: header: expected descr"),
        (changed(shape="[5, 4, 3]"), "X_train.npy: header: expected descr"),
        (changed(shape="(5, 4)"), "X_train.npy: expected 20 bytes for uint8 .5, 4., got 60"),
        (changed(shape="(5, 4, 4)"), "X_train.npy: expected 80 bytes for uint8 .5, 4, 4., got 60"),
        (changed(shape="(1000000000000,)"), "X_train.npy: expected 1000000000000 bytes"),
        (changed(shape="(100000000000000000000,)"), "X_train.npy: expected 100000000000000000000 bytes"),
        (changed(shape="(0, 99999999999999999999)"), "X_train.npy: expected 0 bytes"),
        (changed(shape="(" + "1, " * 20 + "60)"), "X_train.npy|expected images of shape"),
        (changed(shape="()"), "X_train.npy: expected 1 bytes"),
        (changed(descr="'(,)f4'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(descr="'(2,)u1'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(descr="'|V60'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(descr="'<U15'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(descr="'<U400000000000'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(descr="'<M8[s]'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(descr="'<c8'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(descr="'|O'"), "Object arrays cannot be loaded"),
        (changed(descr="()"), "X_train.npy: header: expected numbers and a shape"),
        (changed(descr="[('a', '|u1')]"), "X_train.npy: header: expected descr"),
        (changed(descr="True"), "X_train.npy: header: expected numbers and a shape"),
        (changed(fortran_order="'no'"), "X_train.npy: header: expected numbers and a shape"),
        (changed(fortran_order="0"), "X_train.npy: header: expected descr"),
    ],
)
def test_an_npz_member_that_is_no_array_is_refused(tmp_path, member, message):
    path = archive(tmp_path / "data.npz", X_train=member, y_train=labels(), X_test=header(), y_test=labels())
    with pytest.raises(ValueError, match=rf"data\.npz: .*({message})"):
        datasets.load_npz(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_npz_files_that_numpy_would_not_write_are_refused(tmp_path, method):
    path = archive(tmp_path / "data.npz", method, X_train=header(), y_train=labels(), X_test=header(), y_test=labels())
    with pytest.raises(ValueError, match=r"X_train\.npy: expected to be stored or deflated, as NumPy does, got type 1"):
        datasets.load_npz(path)
    path.write_bytes(path.read_bytes()[:60] + b"\xff" * 9 + path.read_bytes()[69:])
    with pytest.raises(ValueError, match=r"data\.npz: "):
        datasets.load_npz(path)


def test_an_array_that_an_npz_file_has_twice_is_refused(tmp_path):
    members = {"X_train": header(), "x_train": header(), "y_train": labels(), "X_test": header(), "y_test": labels()}
    with pytest.raises(ValueError, match="expected one array x_train, got two"):
        datasets.load_npz(archive(tmp_path / "data.npz", **members))


def test_every_truncation_of_an_npz_file_is_refused_and_no_damage_changes_what_is_read(tmp_path, images):
    path = npz(tmp_path, images)
    content = path.read_bytes()
    (expected, _), _ = datasets.load_npz(path)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"data\.npz: "):
            datasets.load_npz(path)
    for place in range(0, len(content), 11):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            (X, _), _ = datasets.load_npz(path)
        except ValueError:
            continue
        np.testing.assert_array_equal(X, expected)


@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_a_small_file_that_holds_gigabytes_is_refused_before_it_is_unpacked(tmp_path, kind):
    size = 100 * 2**20
    if kind == "npz":
        bomb = header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size // 4}, 2, 2), }}", bytes(size))
        path = archive(tmp_path / "data.npz", X_train=bomb, y_train=labels(), X_test=header(), y_test=labels())
    else:
        path = tmp_path / "data.idx"
        path.write_bytes(gzip.compress(announcing(size, content=bytes(size))))
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"expected at most \d+ bytes in a .*file of this size, got 10485"):
            datasets.load_npz(path) if kind == "npz" else datasets.read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        for read in (datasets.read_idx, datasets.load_npz, datasets.load):
            with pytest.raises(
                (ValueError, FileNotFoundError), match=r"expected a (regular file|folder)|expected the word"
            ):
                read(path)
