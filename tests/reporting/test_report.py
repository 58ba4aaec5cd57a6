"""The report as a file: what it says is right, it is small, it fetches nothing, and no name can do anything in it."""

import base64
import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from pages import HOSTILE, Page, assert_fetches_nothing, picture_model, pictures

import cnnx
from cnnx import metrics

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def digits():
    (X, y), (X_test, y_test) = cnnx.datasets.load_digits()
    model = cnnx.models.small(10)
    history = model.train(X, y, 0.1, batch_size=32, epochs=2, seed=0, validation_data=(X_test, y_test), verbose=False)
    return model, X_test, y_test, history


@pytest.fixture(scope="module")
def page(digits, tmp_path_factory):
    model, X, y, history = digits
    path = tmp_path_factory.mktemp("report") / "report.html"
    about = {"Seed": 0, "Command": "cnnx train digits"}
    cnnx.report(model, X, y, path, history=history, title="Digits & more", about=about)
    return Page(path)


def percent(share):
    return f"{100 * share:.1f} %"


def image_of(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_the_first_sentence_says_how_good_it_is(digits, page):
    model, X, y, _ = digits
    said = model.predict(X)
    low, high = metrics.accuracy_interval(int((said == y).sum()), len(y))
    assert f"{percent((said == y).mean())} of {len(y)} test pictures right" in page.text
    assert f"(95 % interval {percent(low)} to {percent(high)})." in page.text
    counts = metrics.confusion_matrix(y, said, 10)
    off = counts - np.diag(np.diag(counts))
    true, taken = np.unravel_index(off.argmax(), off.shape)
    text = page.text.replace(" ", "")
    assert f"Mostoftenittakes{true}for{taken}:{off.max()}ofthe{counts[true].sum()}picturesof{true}." in text


def test_the_page_is_whole_small_and_fetches_nothing(page):
    assert len(page.bytes) < 2_000_000
    assert_fetches_nothing(page)
    assert "http" not in page.source.replace("http-equiv", "")
    sections = "confusion mistakes classes reliability training looked filters network about"
    assert [each["id"] for each in page.attributes("section")] == sections.split()
    anchors = {each["href"][1:] for each in page.attributes("a")}
    identities = [each["id"] for _, each in page.elements if "id" in each]
    assert anchors <= set(identities)
    assert len(identities) == len(set(identities))


def test_the_policy_lets_this_script_run_and_no_other(page):
    (_, data), (attributes, script) = page.scripts
    assert attributes == {}
    assert "http" not in script
    fingerprint = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{fingerprint}'" in page.attributes("meta")[1]["content"]
    assert "<" not in data


def test_every_cell_has_the_pictures_of_its_examples(digits, page):
    model, X, y, _ = digits
    said, sure = model.predict(X), model.predict_proba(X).max(axis=1)
    cells, shown = page.data["gallery"]["cells"], page.data["gallery"]["shown"]
    counts = metrics.confusion_matrix(y, said, 10)
    assert {key: cells[key][0] for key in page.keys if "-" in key} == {
        f"{i}-{j}": counts[i, j] for i, j in np.argwhere(counts)}  # fmt: skip
    for label in range(10):
        missed, stray = (y == label) & (said != label), (y != label) & (said == label)
        assert cells.get(f"m{label}", [0])[0] == missed.sum()
        assert cells.get(f"f{label}", [0])[0] == stray.sum()
    assert set(page.keys) <= cells.keys()
    for key, (count, indices) in cells.items():
        assert len(indices) == min(count, 24)
        for entry in (shown[index] for index in indices):
            number = int(entry["n"])
            assert (entry["t"], entry["s"]) == ([y[number]], [said[number]])
            assert entry["p"] == pytest.approx(sure[number], abs=1e-3)
            np.testing.assert_array_equal(image_of(entry["i"]), np.rint(255 * X[number, :, :, 0]))
        order = [shown[index]["p"] for index in indices]
        true, _, taken = key.partition("-")
        assert order == sorted(order, reverse=true != taken)


def test_the_worst_mistakes_come_first_with_where_the_network_looked(digits, page):
    model, X, y, _ = digits
    probabilities = model.predict_proba(X)
    said = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(said != y)
    worst = wrong[np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")][:24]
    images = [each for each in page.attributes("img") if each["alt"].startswith("picture ")]
    assert [int(each["alt"].split()[1]) for each in images[: len(worst)]] == worst.tolist()
    looked = [each for each in page.attributes("img") if each["alt"] == "where the network looked"]
    assert len(looked) == len(images)
    assert image_of(looked[0]["src"]).shape == (64, 64, 3)
    assert f"said {said[worst[0]]} ({probabilities[worst[0]].max():.2f})" in page.text.replace(" (", " (")


def test_figures_layers_and_what_the_user_said_are_there(digits, page):
    model, X, y, history = digits
    text = page.text
    for word in ("Digits & more", "Seed", "cnnx train digits", cnnx.__version__, np.__version__, "2 epochs"):
        assert word in text
    for layer in model.layers:
        assert type(layer).__name__ in text
    assert f"{model.parameter_count:,}" in text
    figures = metrics.class_figures(y, model.predict(X), 10)
    for label in range(10):
        assert f"{figures.precision[label]:.3f} {figures.recall[label]:.3f} {figures.f1[label]:.3f}" in text
    assert f"validation accuracy {history['validation_accuracy'][-1]:.4g}" in text
    found = metrics.calibration(model.predict(X) == y, np.clip(model.predict_proba(X).max(axis=1), 0, 1))
    assert f"{found.expected_error:.3f}" in text


def test_charts_have_the_colours_of_the_page_and_the_same_bits_each_time(digits):
    from cnnx.reporting.charts import history_svgs, overview_svg, reliability_svg

    charts = [*history_svgs(digits[3]), reliability_svg(np.array([1, 0]), np.array([0.6, 0.9]), 10)]
    again = [*history_svgs(digits[3]), reliability_svg(np.array([1, 0]), np.array([0.6, 0.9]), 10)]
    assert charts == again
    for chart in [*charts, overview_svg(np.eye(300, dtype=int))]:
        assert chart.startswith("<svg")
        assert "var(--ink)" in chart
        assert "#000000" not in chart
        assert "xmlns" not in chart


@pytest.mark.parametrize("epochs", [1, 30, 3000])
def test_any_number_of_epochs_is_drawn(epochs):
    from cnnx.reporting.charts import history_svgs

    loss = np.r_[np.linspace(2, 1, epochs - 1), np.inf]
    (chart,) = history_svgs({"$\\frac{<b>": loss.tolist(), "seconds": [1.0] * epochs})
    assert len(chart) < 60_000
    assert "$\\frac{&lt;b&gt;" in chart


# -- Hostile and unusual --------------------------------------------------------------------------------


def test_no_name_can_do_anything_in_the_page(tmp_path):
    model = picture_model(len(HOSTILE))
    model.class_names = HOSTILE
    X, y = pictures(150, classes=len(HOSTILE))
    names = [HOSTILE[index % len(HOSTILE)] + f" {index}.png" for index in range(150)]
    about = {name: name for name in HOSTILE}
    history = {name: [1.0, 2.0] for name in HOSTILE}
    cnnx.report(model, X, y, tmp_path / "r.html", names=names, title=HOSTILE[2], about=about, history=history)
    page = Page(tmp_path / "r.html")
    assert_fetches_nothing(page)
    assert len(page.scripts) == 2
    assert len(page.bytes) < 2_000_000
    assert "\x00" not in page.source
    assert "\x1b" not in page.source
    assert [name for name, attributes in page.elements if "onerror" in attributes] == []
    shown = [page.data["names"][str(label)] for label in range(len(HOSTILE))]
    assert len(set(shown)) == len(HOSTILE)
    assert shown[0] == HOSTILE[0]
    assert shown[9] == "nul \\x00, \\x1b[31m, \\u2028, half \\udc80"
    assert "{{ 7 * 7 }}" in page.text
    assert max(map(len, shown)) < 60


@pytest.mark.parametrize(("classes", "count", "side"), [(100, 3000, 32), (1000, 2500, 8)])
def test_many_classes_and_pictures_stay_under_two_megabytes(tmp_path, classes, count, side):
    model = cnnx.Model(
        cnnx.ConvolutionLayer(filters=4, filter_size=3, stride=2), cnnx.ReluLayer(), cnnx.Flatten(),
        cnnx.DenseLayer(units=classes), cnnx.SoftmaxLayer())  # fmt: skip
    model.build((side, side, 3), seed=0)
    model.class_names = [f"{label} {'&' * 990}" for label in range(classes)]
    X, y = pictures(count, side, 3, classes)
    cnnx.report(model, X, y, tmp_path / "r.html", names=["\U0001f600" * 200] * count)
    page = Page(tmp_path / "r.html")
    assert 300_000 < len(page.bytes) < 2_000_000
    assert_fetches_nothing(page)
    cells = page.data["gallery"]["cells"]
    assert set(page.keys) <= cells.keys()
    assert sum("-" in key for key in page.keys) == 40
    assert len(page.data["gallery"]["shown"]) > 100
    assert len(page.attributes("tr")) > classes
    used = {str(label) for entry in page.data["gallery"]["shown"] for label in (*entry["t"], *entry["s"])}
    assert used <= page.data["names"].keys()


def test_of_very_many_classes_the_worst_are_listed(tmp_path):
    model = cnnx.Model(cnnx.DenseLayer(units=30_000), cnnx.SoftmaxLayer())
    model.build((3,), seed=0)
    model.class_names = [f"{label} {'<' * 990}" for label in range(30_000)]
    X = np.random.default_rng(0).random((20, 3))
    said = model.predict(X)
    y = np.where(np.arange(20) < 5, said, (said + 1) % 30_000)
    cnnx.report(model, X, y, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "25.0 % of 20 test examples right" in page.text
    assert "The 1000 classes with the lowest F1; 29000 others are left out." in page.text
    assert f"m{y[-1]}" in page.keys
    assert len(page.bytes) < 2_000_000


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("kind", ["bytes", "signed", "constant"])
def test_pictures_of_any_channels_and_range(tmp_path, channels, kind):
    model = picture_model(channels=channels)
    X, y = pictures(20, channels=channels)
    X = {"bytes": np.uint8(255 * X), "signed": 8 * X - 4, "constant": 0 * X}[kind]
    cnnx.report(model, X, y, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    shapes = {image_of(entry["i"]).shape for entry in page.data["gallery"]["shown"]}
    assert shapes == {(8, 8, 3) if channels == 3 else (8, 8)}


def test_large_and_narrow_pictures_become_small_ones(tmp_path):
    for shape in ((200, 100, 3), (300, 2, 1)):
        model = cnnx.Model(cnnx.GlobalPoolLayer(), cnnx.DenseLayer(units=2), cnnx.SoftmaxLayer())
        model.build(shape, seed=0)
        X = np.random.default_rng(0).random((6, *shape), np.float32)
        cnnx.report(model, X, [0, 1] * 3, tmp_path / "r.html")
        entry = Page(tmp_path / "r.html").data["gallery"]["shown"][0]
        assert entry["i"].startswith("data:image/jpeg;base64,")
        assert max(image_of(entry["i"]).shape) == 96


def test_a_table_has_numbers_instead_of_pictures(tmp_path):
    model = cnnx.Model(cnnx.DenseLayer(units=3), cnnx.SoftmaxLayer())
    model.build((4,), seed=0)
    X, y = np.random.default_rng(0).random((30, 4)), np.arange(30) % 3
    cnnx.report(model, X, y, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "30 test examples right" in page.text
    assert page.attributes("img") == []
    assert {each["id"] for each in page.attributes("section")}.isdisjoint({"looked", "filters", "training"})
    assert all("i" not in entry for entry in page.data["gallery"]["shown"])


def test_two_classes_of_one_output(tmp_path):
    model = cnnx.Model(
        cnnx.ConvolutionLayer(filters=2, filter_size=3), cnnx.GlobalPoolLayer(), cnnx.DenseLayer(units=1),
        cnnx.SigmoidLayer(threshold=0.3))  # fmt: skip
    model.build((6, 6, 1), seed=0)
    model.class_names = ["no", "yes"]
    X, y = pictures(40, 6, classes=2)
    cnnx.report(model, X, y, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    counts = metrics.confusion_matrix(y, model.predict(X), 2)
    assert {key: page.data["gallery"]["cells"][key][0] for key in page.keys if "-" in key} == {
        f"{i}-{j}": count for (i, j), count in np.ndenumerate(counts) if count}  # fmt: skip
    soft = tmp_path / "soft.html"
    cnnx.report(model, X, np.where(y == 1, 0.9, 0.2)[:, np.newaxis], soft)
    assert Page(soft).data["gallery"]["cells"] == page.data["gallery"]["cells"]


def test_several_labels_at_once(tmp_path):
    model = cnnx.Model(
        cnnx.ConvolutionLayer(filters=2, filter_size=3), cnnx.GlobalPoolLayer(), cnnx.DenseLayer(units=3),
        cnnx.SigmoidLayer())  # fmt: skip
    model.build((6, 6, 3), seed=1)
    model.parameters *= 5
    X, _ = pictures(50, 6, 3)
    y = np.random.default_rng(0).integers(0, 2, (50, 3))
    cnnx.report(model, X, y, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    said = model.predict(X)
    assert f"In {percent((said == y).all(axis=1).mean())} of 50 test pictures every label is right" in page.text
    cells = page.data["gallery"]["cells"]
    for label in range(3):
        assert cells.get(f"m{label}", [0])[0] == ((y == 1) & (said == 0))[:, label].sum()
        assert cells.get(f"f{label}", [0])[0] == ((y == 0) & (said == 1))[:, label].sum()
    assert "confusion" not in {each["id"] for each in page.attributes("section")}
    figures = metrics.class_figures(y, said, 3)
    assert f"{figures.recall[1]:.3f} {figures.f1[1]:.3f}" in page.text


def test_scores_that_are_no_probabilities(tmp_path):
    model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(units=3), cnnx.HingeLayer())
    model.build((8, 8, 1), seed=0)
    X, y = pictures(30)
    cnnx.report(model, X, y, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "reliability" not in {each["id"] for each in page.attributes("section")}
    assert all("p" not in entry for entry in page.data["gallery"]["shown"])


def test_a_model_without_a_mistake_and_a_single_picture(tmp_path):
    model = picture_model()
    X, _ = pictures(9)
    cnnx.report(model, X, model.predict(X), tmp_path / "r.html")
    text = Page(tmp_path / "r.html").text
    assert "It made no mistake on them" in text
    assert "all 9 pictures were right" in text
    cnnx.report(model, X[:1], 1 - np.minimum(model.predict(X[:1]), 1), tmp_path / "r.html")
    assert "The one mistake." in Page(tmp_path / "r.html").text


def test_a_folder_of_pictures_names_its_files(tmp_path):
    from cnnx.data import FolderBatches

    rng = np.random.default_rng(0)
    for name in ("cat", "d<o>g"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(4):
            picture = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
            picture.save(tmp_path / "photos" / name / f"{index} &.png")
    source = FolderBatches(tmp_path / "photos", 3, 8)
    model = picture_model(2, channels=3)
    model.class_names = source.class_names
    cnnx.report(model, source, None, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert {entry["n"] for entry in page.data["gallery"]["shown"]} <= {
        f"{name}/{index} &.png" for name in ("cat", "d<o>g") for index in range(4)}  # fmt: skip
    assert "d<o>g" in page.text
    arrays, labels, _ = source.read(slice(None))
    cnnx.report(model, arrays, labels, tmp_path / "arrays.html")
    same = Page(tmp_path / "arrays.html")
    assert [e["i"] for e in same.data["gallery"]["shown"]] == [e["i"] for e in page.data["gallery"]["shown"]]


# -- Errors ----------------------------------------------------------------------------------------------


def test_arguments_that_cannot_be_are_named_and_nothing_is_written(tmp_path):
    model, path = picture_model(), tmp_path / "r.html"
    X, y = pictures(5)
    values = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(units=1), cnnx.RegressionLayer())
    values.build((8, 8, 1), seed=0)
    unbuilt = cnnx.models.small(3)
    source = cnnx.data.GeneratorBatches(lambda rng: iter([(X, y)]), 1, 5)
    for error, message, arguments, options in [
        (TypeError, r"a model that says classes.* got one that ends in RegressionLayer", (values, X, y), {}),
        (TypeError, "expected a Model", ("model", X, y), {}),
        (RuntimeError, "not built", (unbuilt, X, y), {}),
        (ValueError, "expected the same number of examples, got 5 and 4", (model, X, y[:4]), {}),
        (ValueError, "at least one example", (model, X[:0], y[:0]), {}),
        (ValueError, r"expected shape \(batch, 8, 8, 1\)", (model, X[:, :4], y), {}),
        (ValueError, "expected 0 to 2 for 3 classes", (model, X, y + 7), {}),
        (ValueError, "finite", (model, np.where(X > 0.5, np.nan, X), y), {}),
        (TypeError, "y: expected labels, got None", (model, X, None), {}),
        (TypeError, "reads examples by their numbers", (model, source, None), {}),
        (ValueError, "names: expected one for each of 5 examples, got 1", (model, X, y), {"names": ["a"]}),
        (TypeError, "about: expected a mapping", (model, X, y), {"about": "text"}),
        (TypeError, "history: expected a History", (model, X, y), {"history": [1, 2]}),
        (TypeError, "history: 'loss': expected an array of numbers", (model, X, y), {"history": {"loss": ["a"]}}),
        (ValueError, "history: 'loss': expected a number an epoch", (model, X, y), {"history": {"loss": [[1.0]]}}),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            cnnx.report(*arguments, path, **options)
        assert not path.exists()


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    X, y = pictures(5)
    with pytest.raises(FileNotFoundError):
        cnnx.report(picture_model(), X, y, tmp_path / "missing" / "r.html")


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2", "PIL"])
def test_without_the_extra_the_error_names_it(monkeypatch, missing, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"report needs {missing}: python -m pip install 'cnnx\[report\]'"):
        cnnx.report(picture_model(), *pictures(5), tmp_path / "r.html")


def test_the_name_is_there_without_anything_of_it_being_imported():
    code = (
        "import sys, cnnx; assert callable(cnnx.report);"
        "print([name for name in ('jinja2', 'matplotlib', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
