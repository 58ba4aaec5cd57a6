"""The one call that writes a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from cnnx._typing import Array
from cnnx.checks.arrays import check_numbers
from cnnx.files.writing import write_file
from cnnx.inspection.names import shown_names, visible
from cnnx.inspection.outcomes import check_classifier, outcomes
from cnnx.inspection.pictures import is_picture
from cnnx.network import Model
from cnnx.reporting import content
from cnnx.reporting.cells import Cells
from cnnx.reporting.content import Artist, Subject
from cnnx.reporting.examples import Examples
from cnnx.reporting.needs import require_extra
from cnnx.reporting.page import render, size_in_page

# Bytes of a page: what is left beside all else is for the pictures behind the cells.
AIM = 1_500_000


def report(
    model: Model,
    X: Any,
    y: Any,
    path: str | os.PathLike[str],
    *,
    history: Mapping[str, Sequence[float]] | None = None,
    names: Sequence[str] | None = None,
    title: str = "A trained network",
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write what a model gets right and wrong, and what it is, as one HTML file under 2 MB.

    The file fetches nothing, so it works offline and can be mailed: training curves, the confusion matrix (click a cell
    to see its pictures), figures of each class, how sure the model is and how rightly, the worst mistakes and where the
    network looked, the filters of the first layer, layers with their memory and time, data and versions.

    Parameters
    ----------
    model : Model
        Built, with an output layer that says classes: `SoftmaxLayer`, `SigmoidLayer` or `HingeLayer`. Its `class_names`
        are shown, and its `pixel_max` says which pixels are white.
    X : array_like of shape (examples, *input_shape), or Batches
        Examples that the model has not been trained on; or a source that reads them by their numbers, such as
        `FolderBatches`, which names its files. Examples that are no pictures are named by their numbers.
    y : array_like of shape (examples,) or (examples, classes)
        True classes, as in `Model.evaluate`. None with a source.
    path : str or path-like
        The file; what is there is replaced.
    history : History, or mapping of str to a sequence of float, optional
        The figures of each epoch, as `Model.train` returns them.
    names : sequence of str, optional
        What each example is called, such as its file.
    title : str
        The heading.
    about : mapping of str to object, optional
        What else a reader should know, such as ``{"Data": "...", "Seed": 0, "Command": "..."}``, 50 lines at most.

    Raises
    ------
    ImportError
        Without Matplotlib, Jinja2 or Pillow, the extra `report`.
    TypeError, ValueError
        If an argument is not as above, or the model predicts values (`RegressionLayer`), which have no confusion.
    OSError
        If the file cannot be written.

    Notes
    -----
    The interval of the accuracy is Wilson's, as in `cnnx.metrics.accuracy_interval`; calibration is that of
    `cnnx.metrics.calibration`; where the network looked is Grad-CAM: Selvaraju et al., "Grad-CAM: Visual Explanations
    from Deep Networks via Gradient-based Localization", ICCV 2017.
    """
    require_extra()
    check_classifier(model, "report")
    figures = _check_history({} if history is None else history)
    if about is not None and not isinstance(about, Mapping):
        raise TypeError(f"report: about: expected a mapping, got {about!r}")
    examples = Examples(model, X, y, names)
    found = outcomes(model, examples.batches(), examples.labels, "report")
    subject = Subject(model, examples, found, shown_names(model.class_names, found.classes), figures, about or {})
    write_file(path, [_page(subject, visible(str(title), 120))])


def _page(subject: Subject, title: str) -> bytes:
    """All of it; first without the pictures behind the cells, to see how much room there is for them."""
    artist = Artist(subject) if is_picture(subject.model.input_shape) else None
    found = subject.outcomes
    confusion, classes = content.confusion(subject), content.classes(subject)
    sections = {
        "title": title,
        "summary": content.summary(subject),
        "confusion": confusion,
        "classes": classes,
        "reliability": content.reliability(subject),
        "curves": content.curves(subject),
        "mistakes": content.cards(subject, found.mistakes[: content.MISTAKES], artist),
        "right": content.cards(subject, content.surest_right(found), artist) if artist and artist.looks else [],
        "filters": content.filters(subject),
        "network": content.network(subject),
        "about": content.about(subject),
        "names": subject.names,
        "noun": subject.noun,
        "looked": artist is not None and artist.looks,
    }
    pairs = content.pairs_of(confusion, found.classes)
    cells = Cells(found, pairs, [row["label"] for row in classes["rows"]])
    labels = {row["label"] for row in classes["rows"]} | {label for pair in pairs for label in pair}
    named = {label: subject.names[label] for label in sorted(labels)}

    def size(entry: dict[str, Any]) -> int:
        """With the names of classes that it may need."""
        return size_in_page(entry) + size_in_page([subject.names[label] for label in (*entry["t"], *entry["s"])])

    empty = render({**sections, "named": named, "gallery": {"shown": [], "cells": {}}})
    room = AIM - len(empty) - cells.index_bytes()
    gallery = cells.gallery(subject.examples, artist.draw if artist else None, room, size)
    of_shown = {label for entry in gallery["shown"] for label in (*entry["t"], *entry["s"])}
    named |= {label: subject.names[label] for label in sorted(of_shown)}
    return render({**sections, "named": named, "gallery": gallery})


def _check_history(history: Any) -> dict[str, list[float]]:
    """A list of numbers for each figure."""
    if not isinstance(history, Mapping):
        raise TypeError(f"report: history: expected a History, or a mapping of names to numbers, got {history!r}")
    checked: dict[str, list[float]] = {}
    for name, values in history.items():
        numbers: Array = check_numbers(values, f"report: history: {name!r}")
        if numbers.ndim != 1:
            raise ValueError(f"report: history: {name!r}: expected a number an epoch, got shape {numbers.shape}")
        checked[str(name)] = numbers.tolist()
    return checked
