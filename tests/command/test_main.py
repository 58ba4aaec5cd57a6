import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import cnnx
from cnnx import _kernels
from cnnx.augmentation import CutOut, MixUp, Shift
from cnnx.callbacks import Checkpoint
from cnnx.command.main import main
from cnnx.command.termination import Termination
from cnnx.optimizers import AdamW
from cnnx.schedules import CosineDecay

compiled_only = pytest.mark.skipif(
    not _kernels._compiled, reason="without compiled kernels there is nothing to compare"
)


@pytest.fixture
def saved():
    """A model of the digits, trained for one epoch and saved."""
    (X, y), _ = cnnx.datasets.load_digits()
    model = cnnx.models.small()
    model.train(X, y, 0.1, batch_size=16, seed=0, verbose=False)
    model.save("saved.safetensors")
    return "saved.safetensors"


def write_image(path, pixels):
    image = pytest.importorskip("PIL.Image")
    image.fromarray((np.asarray(pixels) * 255).astype(np.uint8)).save(path)


def test_train_digits_ends_with_accuracy_a_table_of_classes_and_where_the_model_is(capsys):
    assert main(["train", "digits", "--epochs", "2", "--seed", "1"]) == 0
    shown = capsys.readouterr()
    assert "epoch 2/2" in shown.err
    lines = shown.out.splitlines()
    assert lines[0] == "digits: 1438 images to train on, 359 to test on, each 8 x 8 x 1"
    head = lines.index("class  images  precision  recall      F1")
    assert [int(line.split()[0]) for line in lines[head + 1 : head + 11]] == list(range(10))
    assert sum(int(line.split()[1]) for line in lines[head + 1 : head + 11]) == 359
    assert lines[-2].startswith("test loss")
    assert lines[-1] == "saved to digits-small.safetensors"
    model = cnnx.Model.load("digits-small.safetensors")
    accuracy = model.evaluate(*cnnx.datasets.load_digits()[1])[1]
    assert f"test accuracy {accuracy:.2%} (95% interval " in lines[-2]


def test_the_same_seed_trains_the_same_model():
    for output in ("a.safetensors", "b.safetensors"):
        main(["train", "digits", "--epochs", "1", "--quiet", "--output", output])
    np.testing.assert_array_equal(
        cnnx.Model.load("a.safetensors").parameters, cnnx.Model.load("b.safetensors").parameters
    )


@pytest.mark.parametrize("name", ["deck", "resnet8", "mobilenet"])
def test_train_takes_an_npz_file_and_a_model_by_name(name, capsys, rng):
    arrays = {
        "X_train": rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), "y_train": np.arange(40) % 4,
        "X_test": rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), "y_test": np.arange(8) % 4,
    }  # fmt: skip
    np.savez("colours.npz", **arrays)
    assert main(["train", "colours.npz", "--model", name, "--epochs", "1", "--quiet", "--output", "m.safetensors"]) == 0
    model = cnnx.Model.load("m.safetensors")
    assert (model.input_shape, model.output_shape) == ((32, 32, 3), (4,))
    assert main(["evaluate", "m.safetensors", "colours.npz"]) == 0
    assert "test accuracy" in capsys.readouterr().out


def train_tiny(*arguments):
    """A run on a few of the digits; the weights that it saves."""
    (X, y), _ = cnnx.datasets.load_digits()
    np.savez("few.npz", X_train=X[:60], y_train=y[:60], X_test=X[60:90], y_test=y[60:90])
    assert main(["train", "few.npz", "--quiet", "--output", "few.safetensors", *arguments]) == 0
    return X[:60], y[:60], cnnx.Model.load("few.safetensors").parameters


def test_the_options_are_the_arguments_of_train_that_they_say():
    X, y, weights = train_tiny(
        "--optimizer", "adamw", "--learning-rate", "0.01", "--weight-decay", "0.1", "--schedule", "cosine",
        "--epochs", "2", "--augment", "shift,cutout,mixup",
    )  # fmt: skip
    model = cnnx.models.small()
    model.build(X.shape[1:], seed=0)
    model.train(
        X,
        y,
        optimizer=AdamW(CosineDecay(0.01, 2, warmup=0.2), weight_decay=0.1),
        augment=[Shift(1), CutOut(2), MixUp(0.2)],
        batch_size=32,
        epochs=2,
        seed=0,
        verbose=False,
    )
    np.testing.assert_array_equal(weights, model.parameters)


@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.1), ("adam", 1e-3), ("lion", 1e-4)])
def test_each_optimizer_has_a_learning_rate_by_default(name, rate):
    _, _, weights = train_tiny("--optimizer", name, "--epochs", "1")
    np.testing.assert_array_equal(
        train_tiny("--optimizer", name, "--epochs", "1", "--learning-rate", str(rate))[2], weights
    )


def test_all_augmentations_and_the_one_cycle_run_on_digits():
    from cnnx.command.options import AUGMENTATIONS

    train_tiny("--augment", ",".join(AUGMENTATIONS), "--schedule", "onecycle", "--epochs", "2")


def test_a_run_that_is_stopped_and_resumed_saves_the_same_weights(monkeypatch):
    options = ("--optimizer", "adam", "--schedule", "cosine", "--augment", "shift,mixup", "--epochs", "3")
    _, _, expected = train_tiny(*options)
    on_epoch_end = Checkpoint.on_epoch_end

    def cut_off(self, epoch, figures):
        on_epoch_end(self, epoch, figures)
        raise RuntimeError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", cut_off)
        assert main(["train", "few.npz", "--quiet", "--checkpoint", "run", *options]) == 2
    np.testing.assert_array_equal(train_tiny(*options, "--resume", "run")[2], expected)


def test_early_stopping_says_when_and_why_it_stopped(capsys):
    train_tiny("--early-stopping", "0", "--learning-rate", "3", "--epochs", "30")
    lines = capsys.readouterr().out.splitlines()
    stopped = [line for line in lines if line.startswith("stopped after epoch")]
    assert len(stopped) == 1
    assert stopped[0].endswith("validation_loss has not improved for 1 epochs")


def test_help_explains_every_augmentation(capsys):
    from cnnx.command.options import AUGMENTATIONS

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} (" in shown for name in AUGMENTATIONS)
    assert "the last 10% of the training images" in shown


def test_an_interrupted_training_is_still_tested_and_saved(capsys, monkeypatch):
    train = cnnx.Model.train

    def interrupted(self, *arguments, **options):
        history = train(self, *arguments, **options)
        history.interrupted = (1, 7)
        return history

    monkeypatch.setattr(cnnx.Model, "train", interrupted)
    assert main(["train", "digits", "--epochs", "1", "--quiet"]) == 130
    out = capsys.readouterr().out
    assert "interrupted in epoch 1 after batch 7; this is the model so far" in out
    assert "saved to digits-small.safetensors" in out


class Unheard:
    """An output that nobody reads."""

    encoding, closed = "utf-8", False

    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error

    flush = isatty = fileno = lambda self: self.write("")


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "disk full"), ValueError("closed")])
@pytest.mark.parametrize("quiet", [["--quiet"], []])
def test_output_that_cannot_be_written_ends_nothing(error, quiet, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Unheard(error))
    monkeypatch.setattr(sys, "stderr", Unheard(error))
    assert main(["train", "digits", "--epochs", "1", "--output", "m.safetensors", *quiet]) == 0
    cnnx.Model.load("m.safetensors")
    assert main(["evaluate", "m.safetensors", "digits"]) == 0
    assert main(["config"]) == 0
    assert main(["predict", "m.safetensors", "nothing.png"]) == 1
    assert main(["train", "nothing"]) == 2


def test_without_any_output_a_model_is_trained_and_saved(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["train", "digits", "--epochs", "1", "--output", "m.safetensors"]) == 0
    cnnx.Model.load("m.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="closed pipes are a matter of POSIX")
def test_a_process_whose_pipes_are_closed_trains_and_saves_and_ends_well():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cnnx", "train", "digits", "--epochs", "1", "--output", "m.safetensors"]
    source = os.path.dirname(os.path.dirname(cnnx.__file__))
    environment = {**os.environ, "PYTHONPATH": source}
    try:
        assert subprocess.run(command, stdout=writing, stderr=writing, env=environment).returncode == 0
    finally:
        os.close(writing)
    cnnx.Model.load("m.safetensors")


def test_a_model_is_saved_before_anything_is_said_of_it(monkeypatch):
    def cut_off(self, X, y):
        raise KeyboardInterrupt

    monkeypatch.setattr(cnnx.Model, "evaluate", cut_off)
    assert main(["train", "digits", "--epochs", "1", "--quiet", "--output", "m.safetensors"]) == 130
    cnnx.Model.load("m.safetensors")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that could be handled")
@pytest.mark.parametrize("steps", [1, 100, 180])  # an epoch has 180
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_asked_to_end_stops_after_its_batch_and_saves(steps, name, capsys, monkeypatch):
    number = getattr(signal, name)
    handler, taken = signal.getsignal(number), []
    take = cnnx.Model.step

    def step(self, *arguments):
        taken.append(1)
        if len(taken) == steps:
            os.kill(os.getpid(), number)
        return take(self, *arguments)

    monkeypatch.setattr(cnnx.Model, "step", step)
    assert main(["train", "digits", "--epochs", "100", "--quiet", "--output", "m.safetensors"]) == 128 + number
    assert len(taken) == steps
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"stopped after epoch {steps // 180}: the process was asked to end", "saved to m.safetensors"]
    cnnx.Model.load("m.safetensors")
    assert signal.getsignal(number) is handler


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that could be handled")
def test_an_ignored_request_to_end_stays_ignored(monkeypatch):
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Termination() as termination:
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, handler)
    assert termination.requested is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that could be handled")
def test_a_run_that_is_asked_to_end_before_its_first_step_saves_nothing(monkeypatch):
    train = cnnx.Model.train

    def asked(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return train(self, *arguments, **options)

    monkeypatch.setattr(cnnx.Model, "train", asked)
    assert main(["train", "digits", "--quiet", "--output", "m.safetensors"]) == 128 + 15
    assert not os.path.exists("m.safetensors")


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
def test_training_that_fails_leaves_the_model_so_far_beside(error, monkeypatch, capsys):
    def fail(self, epoch, figures):
        raise error

    monkeypatch.setattr(Checkpoint, "on_epoch_end", fail)
    arguments = ["train", "digits", "--epochs", "1", "--quiet", "--output", "m.safetensors", "--checkpoint", "c"]
    assert main(arguments) == (2 if isinstance(error, OSError) else 130)
    assert "the model so far is saved to m.safetensors.unfinished" in capsys.readouterr().err
    cnnx.Model.load("m.safetensors.unfinished")
    assert not os.path.exists("m.safetensors")


def test_evaluate_prints_what_the_model_evaluates_to(saved, capsys):
    assert main(["evaluate", saved, "digits"]) == 0
    loss, accuracy = cnnx.Model.load(saved).evaluate(*cnnx.datasets.load_digits()[1])
    assert f"test loss {loss:.4f}, test accuracy {accuracy:.2%}" in capsys.readouterr().out


def test_a_model_that_has_learned_from_bytes_is_given_bytes(capsys):
    (X, y), (X_test, y_test) = cnnx.datasets.load_digits()
    X, X_test = ((images * 255).astype(np.uint8) for images in (X, X_test))
    model = cnnx.Model(cnnx.StandardizeLayer(), cnnx.Flatten(), cnnx.DenseLayer(10), cnnx.SoftmaxLayer())
    model.train(X, y, 0.1, epochs=3, seed=0, verbose=False)
    model.save("bytes.safetensors")
    np.savez("bytes.npz", X_train=X, y_train=y, X_test=X_test, y_test=y_test)
    loss, accuracy = model.evaluate(X_test, y_test)
    assert main(["evaluate", "bytes.safetensors", "bytes.npz"]) == 0
    shown = capsys.readouterr()
    assert f"test loss {loss:.4f}, test accuracy {accuracy:.2%}" in shown.out
    assert shown.err == "the model has learned from pixels from 0 to 255: it is given such pixels\n"
    write_image("digit.png", X_test[0, :, :, 0] / 255)
    assert main(["predict", "bytes.safetensors", "digit.png"]) == 0
    probability = model.predict_proba(X_test[:1]).max()
    assert capsys.readouterr().out == f"digit.png: class {y_test[0]}, probability {probability:.4f}\n"


def test_a_model_with_one_output_is_tested_on_two_classes(capsys, rng):
    X, y = rng.random((20, 4, 4, 1), np.float32), np.arange(20) % 2
    np.savez("two.npz", X_train=X, y_train=y, X_test=X, y_test=y)
    model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(units=1), cnnx.SigmoidLayer())
    model.build((4, 4, 1), seed=0)
    model.save("two.safetensors")
    assert main(["evaluate", "two.safetensors", "two.npz"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = lines.index("class  images  precision  recall      F1")
    assert [line.split()[:2] for line in lines[head + 1 : head + 3]] == [["0", "10"], ["1", "10"]]


def test_predict_prints_class_and_probability_of_each_image(saved, capsys):
    _, (X, _) = cnnx.datasets.load_digits()
    write_image("digit.png", X[0, :, :, 0])
    write_image("large.png", np.kron(X[1, :, :, 0], np.ones((4, 4))))
    assert main(["predict", saved, "digit.png", "large.png"]) == 0
    shown = capsys.readouterr()
    pixels = np.floor(X[:1] * np.float32(255)) / np.float32(255)
    probabilities = cnnx.Model.load(saved).predict_proba(pixels)[0]
    expected = f"digit.png: class {probabilities.argmax()}, probability {probabilities.max():.4f}"
    assert shown.out.splitlines()[0] == expected
    assert shown.out.splitlines()[1].startswith("large.png: class ")
    assert shown.err == "large.png: resized to 8x8 pixels\n"


def test_a_bad_image_is_one_line_and_the_others_are_still_classified(saved, capsys):
    write_image("good.png", np.zeros((8, 8)))
    with open("bad.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\nbroken")
    assert main(["predict", saved, "bad.png", "missing.png", "good.png"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("good.png: class ")
    assert len(shown.out.splitlines()) == 1
    first, second, count = shown.err.splitlines()
    assert count == "cnnx: 2 of 3 could not be read"
    assert first.startswith("cnnx: error: bad.png: not an intact image")
    assert "missing.png" in second


def test_a_file_name_that_cannot_be_printed_ends_nothing(saved, monkeypatch):
    name = "tr\u00e4ger\udcff.png"
    write_image("good.png", np.zeros((8, 8)))
    try:
        os.replace("good.png", name)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    write_image("good.png", np.zeros((8, 8)))
    written = io.BytesIO(), io.BytesIO()
    for stream, buffer in zip(("stdout", "stderr"), written, strict=True):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(buffer, "ascii", "strict"))
    assert main(["predict", saved, name, "\udcfe.png", "good.png"]) == 1
    out, errors = (buffer.getvalue().decode("ascii").splitlines() for buffer in written)
    assert [line.partition(":")[0] for line in out] == [r"tr\xe4ger\udcff.png", "good.png"]
    assert len(errors) == 2
    assert r"\udcfe.png" in errors[0]


def test_an_image_of_16_bits_is_scaled_and_not_clipped(saved, capsys):
    image = pytest.importorskip("PIL.Image")
    _, (X, _) = cnnx.datasets.load_digits()
    write_image("8.png", X[0, :, :, 0])
    image.fromarray((X[0, :, :, 0] * 65535).astype(np.uint16)).save("16.png")
    assert main(["predict", saved, "8.png", "16.png"]) == 0
    eight, sixteen = capsys.readouterr().out.splitlines()
    assert eight.removeprefix("8") == sixteen.removeprefix("16")


@pytest.mark.parametrize(
    ("biases", "threshold", "expected"),
    [
        ([0.5], 0.5, "class 1, probability 0.6225"),
        ([0.5], 0.7, "class 0, probability 0.3775"),
        ([0.5, -1, 2], 0.5, "classes 0 (0.6225), 2 (0.8808)"),
        ([0.5, -1, 2], 0.9, "no class"),
    ],
)
def test_predict_decides_as_the_model_does(biases, threshold, expected, capsys):
    model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(len(biases)), cnnx.SigmoidLayer(threshold=threshold))
    model.build((8, 8, 1), seed=0)
    model.layers[1].params["W"][...] = 0
    model.layers[1].params["b"][...] = biases
    model.save("several.safetensors")
    write_image("digit.png", np.zeros((8, 8)))
    assert main(["predict", "several.safetensors", "digit.png"]) == 0
    assert capsys.readouterr().out == f"digit.png: {expected}\n"


def test_predict_without_pillow_names_the_extra(saved, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["predict", saved, "digit.png"]) == 2
    assert "python -m pip install 'cnnx[image]'" in capsys.readouterr().err


@compiled_only
@pytest.mark.parametrize("subject", ["digits", "saved"])
def test_verify_prints_the_table_of_differences(subject, saved, capsys):
    assert main(["verify", saved if subject == "saved" else "digits", "--samples", "16"]) == 0
    assert "within the tolerance" in capsys.readouterr().out


@compiled_only
def test_verify_fails_above_the_tolerance(capsys, monkeypatch):
    monkeypatch.setattr(_kernels._compiled["activation"], "relu_forward", lambda x, out: out.fill(1))
    with cnnx.use_backend("numpy"):
        assert main(["verify", "digits", "--samples", "16"]) == 1
    assert "ABOVE the tolerance" in capsys.readouterr().out


def test_config_prints_what_is_in_use(capsys):
    assert main(["config"]) == 0
    assert f"cnnx             {cnnx.__version__}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere"], "nowhere: expected the word digits"),
        (["train", "digits", "--learning-rate", "-1"], "learning_rate: expected a finite number above 0"),
        (["train", "digits", "--weight-decay", "-1"], "weight_decay: expected a finite number of 0 or more"),
        (["train", "digits", "--augment", "flip,blur"], "--augment: expected names among flip,shift,rotate"),
        (["train", "digits", "--checkpoint", "no/such/c"], "--checkpoint: no/such/c cannot be written"),
        (["train", "digits", "--resume", "nothing.checkpoint"], "nothing.checkpoint"),
        (["train", "digits", "--resume", "text.safetensors"], "text.safetensors: not a safetensors file"),
        (["train", "digits", "--early-stopping", "-1"], "--early-stopping: expected 0 or more, got -1"),
        (["train", "digits", "--epochs", "0"], "epochs: expected 1 or more, got 0"),
        (["train", "digits", "--batch-size", "0"], "batch_size: expected 1 or more, got 0"),
        (["train", "digits", "--output", "no/such/folder/m"], "--output: no/such/folder/m cannot be written"),
        (["train", "wild.npz"], "expected fewer classes than the 8 examples, got the label 10000000000000"),
        (["train", "negative.npz"], "labels: expected 0 or more, got -4"),
        (["verify", "nowhere"], "nowhere: expected the word digits"),
        (["train", "digits", "--model", "lenet"], r"a filter of 5x5 does not fit"),
        (["evaluate", "nothing.safetensors", "digits"], "nothing.safetensors"),
        (["evaluate", "text.safetensors", "digits"], "text.safetensors: not a safetensors file"),
        (["verify", "digits", "--samples", "0"], "--samples: expected 1 or more"),
    ],
)
def test_an_error_is_one_line_and_status_2(arguments, message, capsys):
    with open("text.safetensors", "w") as file:
        file.write("not a model")
    for name, label in (("wild", 10**13), ("negative", -4)):
        X, y = np.zeros((4, 8, 8), np.uint8), np.full(4, label)
        np.savez(f"{name}.npz", X_train=X, y_train=y, X_test=X, y_test=y)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("cnnx: error: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_export_writes_an_onnx_file_beside_the_model_and_says_what_it_takes_and_gives(saved, capsys):
    onnx = pytest.importorskip("onnx")
    assert main(["export", saved, "--to", "onnx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "takes input: float32 (batch, 8, 8, 1)",
        "gives probabilities: float32 (batch, 10)",
        "saved to saved.onnx",
    ]
    exported = onnx.load("saved.onnx")
    assert exported.graph.node[-1].op_type == "Softmax"
    assert {each.key: each.value for each in exported.metadata_props} == {"pixel_max": "1.0"}

    assert main(["export", saved, "--to", "onnx", "--logits", "--output", "scores.onnx"]) == 0
    assert "gives logits: float32 (batch, 10)" in capsys.readouterr().out
    assert onnx.load("scores.onnx").graph.node[-1].op_type == "Gemm"


def test_export_without_a_place_to_write_is_an_error_and_leaves_nothing(saved, working_folder, capsys):
    pytest.importorskip("onnx")
    before = sorted(working_folder.iterdir())
    assert main(["export", saved, "--to", "onnx", "--output", "no/such/folder"]) == 2
    assert capsys.readouterr().err.startswith("cnnx: error: [Errno 2]")
    with pytest.raises(SystemExit):
        main(["export", saved, "--to", "pickle"])
    assert sorted(working_folder.iterdir()) == before


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "cnnx", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"cnnx {cnnx.__version__}"
