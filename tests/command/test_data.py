"""What DATA may be, for every command that takes it."""

import gzip
import struct

import numpy as np
import pytest

import cnnx
from cnnx import _kernels
from cnnx.command import data
from cnnx.command.main import main
from cnnx.datasets.splitting import set_aside

compiled_only = pytest.mark.skipif(
    not _kernels._compiled, reason="without compiled kernels there is nothing to compare"
)


@pytest.fixture
def digits():
    """Bytes of some digits, for training and for testing."""
    return [
        ((X[:n] * 255).astype(np.uint8), y[:n])
        for (X, y), n in zip(cnnx.datasets.load_digits(), (300, 100), strict=True)
    ]


def write_idx(folder, digits):
    folder.mkdir()
    for part, (X, y) in zip(("train", "t10k"), digits, strict=True):
        for name, array in (("images-idx3", X[..., 0]), ("labels-idx1", y.astype(np.uint8))):
            content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content))


def csv_lines(X, y, head):
    rows = [",".join(map(str, [label, *image.ravel().tolist()])) for image, label in zip(X, y, strict=True)]
    return "\n".join([",".join(["label", *(f"pixel{i}" for i in range(64))]), *rows] if head else rows)


@pytest.fixture(params=["idx", "npz", "csv folder", "csv"])
def source(request, working_folder, digits):
    """The digits in each of the forms that arrays of pixels are passed around in."""
    train, test = digits
    if request.param == "idx":
        write_idx(working_folder / "idx", digits)
        return "idx"
    if request.param == "npz":
        np.savez("few.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
        return "few.npz"
    if request.param == "csv":
        (working_folder / "all.csv").write_text(csv_lines(*map(np.concatenate, zip(*digits, strict=True)), True))
        return "all.csv"
    (working_folder / "kaggle").mkdir()
    (working_folder / "kaggle" / "digits_train.csv").write_text(csv_lines(*train, True))
    (working_folder / "kaggle" / "digits_test.csv.gz").write_bytes(gzip.compress(csv_lines(*test, False).encode()))
    return "kaggle"


def test_train_and_evaluate_take_the_same_data(source, capsys, digits):
    assert main(["train", source, "--epochs", "1", "--quiet", "--output", "m"]) == 0
    trained = capsys.readouterr().out.splitlines()
    has_test = source != "all.csv"
    assert trained[0].endswith(
        f": {300 if has_test else 321} images to train on, {100 if has_test else 79} to test on, each 8 x 8 x 1"
    )
    model = cnnx.Model.load("m")
    assert (model.pixel_max, model.class_names) == (1, None)
    assert main(["evaluate", "m", source]) == 0
    evaluated = capsys.readouterr()
    assert evaluated.out.splitlines()[-1] == trained[-2]
    assert not evaluated.err
    if has_test:
        loss, accuracy = model.evaluate(digits[1][0] / np.float32(255), digits[1][1])
        assert f"test loss {loss:.4f}, test accuracy {accuracy:.2%}" in trained[-2]


def test_the_network_is_picked_for_arrays_too_if_that_is_asked_for(source, capsys):
    assert main(["train", source, "--model", "auto", "--epochs", "8", "--output", "m"]) == 0
    shown = capsys.readouterr().out
    assert "drawn with seed 0, of each class: " in shown
    assert "small, AdamW OneCycle 0.004, 8 images a step, 8 epochs at most" in shown
    model = cnnx.Model.load("m")
    assert isinstance(model.layers[0], cnnx.StandardizeLayer)
    assert float(shown.split("test accuracy ")[1].split("%")[0]) > 85


@compiled_only
def test_verify_takes_the_same_data(source, capsys):
    assert main(["verify", source, "--samples", "8"]) == 0
    assert main(["train", source, "--epochs", "1", "--quiet", "--output", "m"]) == 0
    assert main(["verify", "m", "--data", source, "--samples", "8"]) == 0
    assert capsys.readouterr().out.count("within the tolerance") == 2


@compiled_only
@pytest.mark.parametrize(
    "layers",
    [
        [cnnx.ConvolutionLayer(3, 3), cnnx.Flatten(), cnnx.DenseLayer(5), cnnx.SoftmaxLayer()],
        [cnnx.StandardizeLayer(mean=100, deviation=50), cnnx.Flatten(), cnnx.DenseLayer(5), cnnx.SoftmaxLayer()],
        [cnnx.Flatten(), cnnx.DenseLayer(5), cnnx.SigmoidLayer()],
        [cnnx.Flatten(), cnnx.DenseLayer(1), cnnx.SigmoidLayer()],
        [cnnx.Flatten(), cnnx.DenseLayer(2), cnnx.RegressionLayer()],
        [cnnx.Flatten(), cnnx.DenseLayer(4), cnnx.HingeLayer()],
    ],
    ids=lambda layers: type(layers[-1]).__name__,
)
@pytest.mark.parametrize("shape", [(13, 9, 3), (28, 28, 1)])
def test_verify_without_data_draws_what_the_model_takes(layers, shape, capsys):
    model = eval(repr(cnnx.Model(*(eval(repr(layer), vars(cnnx)) for layer in layers))), vars(cnnx))
    model.build(shape, seed=0)
    model.pixel_max = 255 if isinstance(model.layers[0], cnnx.StandardizeLayer) else None
    model.save("m")
    assert main(["verify", "m", "--samples", "6"]) == 0
    assert "within the tolerance" in capsys.readouterr().out


def test_a_table_model_is_verified_on_tables(capsys):
    model = cnnx.Model(cnnx.DenseLayer(4), cnnx.ReluLayer(), cnnx.DenseLayer(3), cnnx.SoftmaxLayer())
    model.build((7,), seed=0)
    model.save("m")
    assert main(["verify", "m"]) == (0 if _kernels._compiled else 2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "1,2\n3,x\n", "a.csv: line 2: expected a label from 0 and 1 whole numbers"),
        ("a.csv", "5,2\n3,1\n", "labels: expected fewer classes than the 2 examples, got the label 5"),
        ("a.txt", "1,2\n", "a.txt: expected an .npz file"),
    ],
)
def test_what_is_no_data_is_one_line(working_folder, name, content, message, capsys):
    (working_folder / name).write_text(content)
    for arguments in (["train", name], ["evaluate", "m", name]):
        model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(6), cnnx.SoftmaxLayer())
        model.build((1, 1, 1))
        model.save("m")
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"cnnx: error: {message}")
        assert len(error.splitlines()) == 1


def test_a_folder_of_tables_is_one_for_training_and_one_for_testing(working_folder):
    for name in ("a_train.csv", "a_test.csv.gz", "notes.txt"):
        (working_folder / name).write_text("")
    assert data.kind(".") == "csv"
    (working_folder / "other.csv").write_text("")
    assert data.kind(".") == "pictures"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_each_class_gives_its_share(share, rng):
    labels = rng.permutation(np.repeat([0, 1, 2, 5], [1, 2, 30, 101]))
    drawn = set_aside(labels, share, rng)
    for label, count in ((0, 1), (1, 2), (2, 30), (5, 101)):
        number = np.count_nonzero(drawn & (labels == label))
        if share in (0, 1):
            assert number == count * share
        elif count == 1:
            assert number == 0
        else:
            assert 1 <= number <= count - 1
            assert abs(number - count * share) <= 1
