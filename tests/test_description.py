"""What a model says of its data: names of classes, and what white is."""

import copy
import json
import pickle

import numpy as np
import pytest

import cnnx
from cnnx.data.pixels import pixel_max
from cnnx.files.tensors import read_tensors, write_tensors


def make(classes=3):
    model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(units=classes), cnnx.SoftmaxLayer())
    model.build((2, 2, 1), seed=0)
    return model


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.zeros((1, 2, 2, 1), np.uint8), 255),
        (np.full((1, 2, 2, 1), 200.0), 255),
        (np.full((1, 2, 2, 1), 200, np.int64), 255),
        (np.full((1, 2, 2, 1), 0.5, np.float32), 1),
        (np.full((1, 2, 2, 1), True), 1),
        (np.full((1, 2, 2, 1), -0.5), None),
        (np.full((1, 2, 2, 1), 16.0), None),
        (np.full((1, 2, 2, 1), 65535), None),
        (np.full((1, 2, 2, 1), np.nan), None),
        (np.zeros((0, 2, 2, 1)), None),
        (np.zeros((1, 4)), None),
    ],
)
def test_pictures_show_what_white_is(X, expected):
    assert pixel_max(X) == expected


def test_training_notes_what_white_is():
    model, y = make(), [0, 1, 2]
    assert model.pixel_max is None
    model.train(np.full((3, 2, 2, 1), 7, np.uint8), y, 0.01, verbose=False)
    assert model.pixel_max == 255
    model.train(cnnx.data.ArrayBatches(np.full((3, 2, 2, 1), 0.5), np.array(y), 3), learning_rate=0.01, verbose=False)
    assert model.pixel_max == 1
    model.train(
        cnnx.data.GeneratorBatches(lambda rng: [(np.full((3, 2, 2, 1), 99.0), y)], 1, 3),
        learning_rate=0.01,
        verbose=False,
    )
    assert model.pixel_max == 255


def test_names_and_white_stay_with_copies_and_files(tmp_path):
    model = make()
    model.class_names, model.pixel_max = ["Katze", "dog", "<b>鳥</b>"], 255
    model.save(tmp_path / "m")
    for other in (
        copy.copy(model),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        model.folded(),
        cnnx.Model.load(tmp_path / "m"),
        cnnx.Model.load(tmp_path / "m").folded(),
    ):
        assert other.class_names == ("Katze", "dog", "<b>鳥</b>")
        assert other.pixel_max == 255


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("abc", TypeError, "a name for each class, got 'abc'"),
        (["a", "b", 3], TypeError, "strings, got 3"),
        (["a", "b", "b"], ValueError, "different names"),
        (["a", "b"], ValueError, "3 names, got 2"),
        (["a", "b", ""], ValueError, "1 to 1000 characters, got one of 0"),
        (["a", "b", "c" * 1001], ValueError, "got one of 1001"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, names, error, message):
    model = make()
    with pytest.raises(error, match=message):
        model.class_names = names
    assert model.class_names is None
    rewrite(model, tmp_path / "m", class_names=names)
    with pytest.raises(ValueError, match=f"m: not a usable cnnx model: Model.class_names: .*{message}"):
        cnnx.Model.load(tmp_path / "m")


@pytest.mark.parametrize("white", [0, -1, "255", [255], 1e400, True])
def test_white_that_cannot_be_is_refused(tmp_path, white):
    with pytest.raises((TypeError, ValueError), match=r"Model\.pixel_max: expected"):
        make().pixel_max = white
    rewrite(make(), tmp_path / "m", pixel_max=white)
    with pytest.raises(ValueError, match="not a usable cnnx model"):
        cnnx.Model.load(tmp_path / "m")


@pytest.mark.parametrize("data", [None, [], {}, {"class_names": None}, {"class_names": None, "pixel_max": 1, "x": 1}])
def test_a_file_without_either_entry_is_refused(tmp_path, data):
    rewrite(make(), tmp_path / "m", whole=data)
    with pytest.raises(ValueError, match="data: expected the entries"):
        cnnx.Model.load(tmp_path / "m")


def rewrite(model, path, whole=..., **data):
    model.save(path)
    metadata, tensors = read_tensors(path)
    content = json.loads(metadata["cnnx"])
    content["data"] = content["data"] | data if whole is ... else whole
    write_tensors(path, tensors, {"cnnx": json.dumps(content)})


def test_names_are_compared_with_the_classes_when_a_model_is_built():
    model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(units=1), cnnx.SigmoidLayer())
    model.class_names = ["no", "yes", "perhaps"]
    with pytest.raises(ValueError, match="expected 2 names, got 3"):
        model.build((2, 2, 1))
    model.class_names = ["no", "yes"]
    model.build((2, 2, 1))


def test_a_folder_gives_its_names_where_there_are_as_many_as_classes(tmp_path):
    from PIL import Image

    for name in ("dog", "cat", "bird"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((2, 2), 99, np.uint8)).save(tmp_path / name / "1.png")
    batches = cnnx.data.FolderBatches(tmp_path, 3, 2, channels=1)
    model = make()
    model.train(batches, learning_rate=0.01, verbose=False)
    assert (model.class_names, model.pixel_max) == (("bird", "cat", "dog"), 1)
    wide = make(classes=4)
    wide.train(batches, learning_rate=0.01, verbose=False)
    assert wide.class_names is None
