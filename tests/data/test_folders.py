"""Batches from a folder of images."""

import numpy as np
import pytest

from cnnx.data import FolderBatches

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    """Two classes of five files; each image has a grey of its own."""
    for label, name in enumerate(["cats", "dogs"]):
        (tmp_path / name).mkdir()
        for i in range(5):
            grey = np.full((4, 6), 100 * label + 10 * i, np.uint8)
            Image.fromarray(grey).save(tmp_path / name / f"{i}.{'PNG' if i else 'png'}")
    (tmp_path / "README.txt").write_text("Left out.")
    (tmp_path / ".cache").mkdir()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "cats" / name).write_text("Left out.")
    return tmp_path


def test_each_subfolder_is_a_class(folder):
    batches = FolderBatches(folder, 4, size=(4, 6))
    assert batches.class_names == ("cats", "dogs")
    assert (len(batches), batches.examples, batches.input_shape) == (3, 10, (4, 6, 3))
    X, y, weights = (list(values) for values in zip(*batches.epoch(None), strict=True))
    np.testing.assert_array_equal(np.concatenate(y), [0] * 5 + [1] * 5)
    expected = np.array([0, 10, 20, 30, 40, 100, 110, 120, 130, 140]) / 255
    np.testing.assert_allclose(np.concatenate(X), np.broadcast_to(expected[:, None, None, None], (10, 4, 6, 3)))
    assert weights == [None] * 3
    assert X[0].dtype == np.float32


def test_a_shuffled_epoch_can_begin_later(folder):
    batches = FolderBatches(folder, 4, size=(4, 6), channels=1)
    whole, rest = (list(batches.epoch(np.random.default_rng(0), first=first)) for first in (0, 1))
    assert whole[0][0].shape == (4, 4, 6, 1)
    order = np.random.default_rng(0).permutation(10)
    np.testing.assert_array_equal(np.concatenate([y for _, y, _ in whole]), batches.labels[order])
    for (X, y, _), (X_rest, y_rest, _) in zip(whole[1:], rest, strict=True):
        np.testing.assert_array_equal(X, X_rest)
        np.testing.assert_array_equal(y, y_rest)


def test_a_relative_path_begins_where_the_source_was_made(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    batches = FolderBatches(folder.name, 4, size=4)
    monkeypatch.chdir("/")
    assert len(list(batches.epoch(None))) == 3


def test_images_of_other_sizes_are_resized(folder):
    X, _, _ = next(FolderBatches(folder, 2, size=3).epoch(None))
    assert X.shape == (2, 3, 3, 3)
    np.testing.assert_allclose(X[1], 10 / 255)


def test_a_file_that_is_no_image_is_named_when_it_is_read(folder):
    (folder / "dogs" / "2.PNG").write_bytes(b"\x89PNG broken")
    epoch = FolderBatches(folder, 5, size=(4, 6)).epoch(None)
    next(epoch)
    with pytest.raises(ValueError, match=r"dogs.2\.PNG: not an intact image"):
        next(epoch)


def test_folders_that_are_not_of_this_form_are_refused(folder):
    with pytest.raises(FileNotFoundError):
        FolderBatches(folder / "nowhere", 4, size=4)
    with pytest.raises(ValueError, match=r"cats: expected a subfolder for each class, found none"):
        FolderBatches(folder / "cats", 4, size=4)
    with pytest.raises(ValueError, match="channels: expected 1 or 3, got 4"):
        FolderBatches(folder, 4, size=4, channels=4)
    with pytest.raises(TypeError, match="FolderBatches: size: expected an integer or a pair"):
        FolderBatches(folder, 4, size=(4, 4, 3))
    (folder / "dogs" / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"notes\.txt: expected nothing but pictures"):
        FolderBatches(folder, 4, size=4)
    (folder / "birds").mkdir()
    with pytest.raises(ValueError, match=r"birds: expected pictures .*, found none"):
        FolderBatches(folder, 4, size=4)
