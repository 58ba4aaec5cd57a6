"""A notebook runs, and shows models, training and histories as notebooks do."""

import warnings

import pytest

from cnnx import History

CELLS = """
import cnnx
(X, y), (X_test, y_test) = cnnx.datasets.load_digits()
model = cnnx.models.small(10)
history = model.train(X[:64], y[:64], 0.1, epochs=2, seed=0, validation_split=0.25)

model

history

%matplotlib inline
cnnx.plots.mistakes(model, X_test, y_test, count=4)

cnnx.plots.confusion(y_test, model.predict(X_test)).figure
"""


def test_a_notebook_shows_a_widget_the_table_of_layers_and_curves(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for needed in ("ipykernel", "ipywidgets", "matplotlib", "matplotlib_inline"):
        pytest.importorskip(needed)
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.strip().split("\n\n")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    kernel = {"display_name": "this Python", "language": "python", "name": "python3"}
    notebook.metadata["kernelspec"] = kernel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Jupyter's own parts warn each other of
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    trained, model, history, mistakes, confusion = ([*cell.outputs] for cell in notebook.cells)
    views = [output.data for output in trained if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert len(views) == 2  # a bar for each epoch
    assert not any("IProgress" in str(output) for output in trained)
    assert "<table>" in model[0].data["text/html"]
    assert "layers[0] (ConvolutionLayer)" in model[0].data["text/html"]
    assert history[0].data["text/html"].startswith("<svg")
    assert "image/png" in mistakes[-1].data
    assert "image/png" in confusion[-1].data


def test_a_history_is_a_curve_or_without_matplotlib_a_table(monkeypatch):
    history = History({"loss": [1.5, 0.25], "<b>": [1.0]})
    pytest.importorskip("matplotlib")
    assert "</svg>" in history._repr_html_()
    monkeypatch.setattr("cnnx.callbacks.history.find_spec", lambda name: None)
    assert history._repr_html_() == (
        "<table><tr><th>epoch</th><th>loss</th><th>&lt;b&gt;</th></tr>"
        "<tr><td>1</td><td>1.5</td><td>1</td></tr><tr><td>2</td><td>0.25</td><td></td></tr></table>"
    )
    assert "no epoch" in History()._repr_html_()
