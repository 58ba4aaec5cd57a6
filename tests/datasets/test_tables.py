"""Pixels in CSV files."""

import gzip
import os

import numpy as np
import pytest
from hypothesis import given, strategies as st

from cnnx.datasets import load_csv, tables


def lines_of(X, y):
    return [",".join(map(str, [label, *image.ravel().tolist()])) for image, label in zip(X, y, strict=True)]


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (700, 3, 3, 1), dtype=np.uint8), rng.integers(0, 10, 700)


@pytest.mark.parametrize("head", [None, "label,1x1,1x2,1x3,2x1,2x2,2x3,3x1,3x2,3x3", '\ufeff"Label"' + ',"p"' * 9])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_line_is_a_label_and_an_image(tmp_path, images, head, ending, compressed):
    X, y = images
    content = ending.join([*([head] if head else []), *lines_of(X, y)]).encode()
    (tmp_path / "a").write_bytes(gzip.compress(content) if compressed else content)
    read_X, read_y = load_csv(tmp_path / "a")
    assert (read_X.dtype, read_y.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(read_X, X / np.float32(255))
    np.testing.assert_array_equal(read_y, y)


def test_the_label_is_where_the_names_say_and_colours_lie_together(tmp_path, rng):
    X, y = rng.integers(0, 256, (5, 2, 2, 3), dtype=np.uint8), np.arange(5)
    rows = [",".join(map(str, [*image.ravel().tolist(), label])) for image, label in zip(X, y, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join([",".join([*(f"pixel{i:04}" for i in range(12)), "label"]), *rows]))
    read_X, read_y = load_csv(tmp_path / "a.csv")
    np.testing.assert_array_equal(read_X, X / np.float32(255))
    np.testing.assert_array_equal(read_y, y)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: expected a label and n . n or 3 . n . n pixels, got 1 columns"),
        (b"1,2,3\n", "line 1: expected a label and n"),
        (b"label,a\n", "expected a line for each image, got none"),
        (b"name,a\n1,2\n", "line 1: expected one column named label or class, got none"),
        (b"label,label\n1,2\n", "line 1: expected one column named label or class, got 2"),
        (b"1,2\n3,4\n5,6,7\n", "line 3: expected a label from 0 and 1 whole numbers .* got 3 columns: '5,6,7'"),
        (b"label,a\n1,2\n\n3,256\n", "line 4: .*'3,256'"),
        (b"1,2\n3,-1\n", "line 2"),
        (b"1,2\n-3,1\n", "line 2"),
        (b"1,2\n3,0.5\n", "line 2"),
        (b"1,2\n3,nan\n", "line 2"),
        (b"1,2\n3,inf\n", "line 2"),
        (b"1,2\n3,1e999\n", "line 2"),
        (b"1,2\n99999999999,1\n", "line 2"),
        (b"1,2\n3,\n", "line 2"),
        (b"1,2\n3,\xff\x00\n", "line 2"),
        (b"1;2\n", "line 1: expected a label and n . n"),
        (b"1,2\n" + b"1" * (tables.LONGEST_LINE + 1), "line 2: expected at most 4194304 bytes, got more"),
        (gzip.compress(b"1,2\n" * 10)[:-12], "expected intact gzip data"),
        (
            gzip.compress((b"1,2" + b" " * (1 << 20) + b"\n") * 20),
            "expected at most .* bytes in a compressed file of this size, got more",
        ),
    ],
)
def test_what_is_no_table_of_pixels_is_refused_and_the_line_is_named(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.csv: {message}"):
        load_csv(tmp_path / "a.csv")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    try:
        X, y = load_csv(path)
    except ValueError as error:
        found = str(error)
    else:
        found = f"{path}: {len(X) == len(y) > 0}"
    assert found.startswith(f"{path}: ")
    assert not found.endswith("False")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: expected a regular file, got a pipe"):
        load_csv(tmp_path / "pipe")
