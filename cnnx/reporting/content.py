"""What a report says, section by section, as plain values for the page."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx._version import __version__
from cnnx.inspection.grad_cam import grad_cam, last_map
from cnnx.inspection.names import visible
from cnnx.inspection.outcomes import Outcomes
from cnnx.inspection.pictures import as_filters, as_pictures, first_convolution, is_picture, overlay, span_of
from cnnx.layers.base import walk
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.metrics import accuracy_interval, calibration, class_figures, confusion_matrix
from cnnx.network import Model
from cnnx.reporting.cells import cell, labels_of, missed, stray
from cnnx.reporting.charts import epochs_of, history_svgs, overview_svg, reliability_svg
from cnnx.reporting.costs import BATCH, TIMES, layer_costs, totals
from cnnx.reporting.examples import Examples
from cnnx.reporting.thumbnails import data_uri

# Classes up to which every cell of the confusion matrix is shown, or at least its colour; the commonest mistakes.
IN_A_GRID, IN_AN_OVERVIEW, PAIRS = 25, 2000, 40
# Rows of the table of classes.
LISTED = 1000
# Mistakes, and what was right, with the places where the network looked; filters of the first layer.
MISTAKES, RIGHT, FILTERS = 24, 12, 64
BINS = 10


class Subject(NamedTuple):
    """What a report is about."""

    model: Model
    examples: Examples
    outcomes: Outcomes
    names: list[str]
    history: Mapping[str, Sequence[float]]
    about: Mapping[str, Any]

    @property
    def noun(self) -> str:
        """What an example is called."""
        return "picture" if is_picture(self.model.input_shape) else "example"


class Artist:
    """Pictures of examples for the page, all with the same black and white."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._span = span_of(subject.examples.take(np.arange(min(len(subject.examples), 256))), subject.model.pixel_max)
        self.looks = last_map(subject.model.layers) is not None

    def draw(self, indices: Array) -> list[str]:
        """A URI for each example."""
        pictures = as_pictures(self._subject.examples.take(indices), self._span)
        return [data_uri(picture) for picture in pictures]

    def draw_looked(self, indices: Array, classes: Array) -> list[tuple[str, str | None]]:
        """A URI for each example, and one for where the network looked for a class."""
        X = self._subject.examples.take(indices)
        pictures = as_pictures(X, self._span)
        if not self.looks:
            return [(data_uri(picture), None) for picture in pictures]
        model = self._subject.model
        x = np.ascontiguousarray(X, model.dtype)
        beside = overlay(pictures, grad_cam(model.layers, x, classes))
        return [
            (data_uri(picture), data_uri(looked, exact=False)) for picture, looked in zip(pictures, beside, strict=True)
        ]


# -- What stands on top --------------------------------------------------------------------------------


def summary(subject: Subject) -> dict[str, Any]:
    """How good it is, in one sentence, and what it mistakes most."""
    right, count = int(subject.outcomes.right.sum()), len(subject.outcomes.truth)
    low, high = accuracy_interval(right, count)
    figures = {
        "right": right,
        "count": count,
        "accuracy": right / count,
        "low": low,
        "high": high,
        "noun": subject.noun,
        "several": subject.outcomes.several,
        "classes": subject.outcomes.classes,
    }
    return {**figures, "confused": None if subject.outcomes.several else _most_confused(subject)}


def _most_confused(subject: Subject) -> dict[str, Any] | None:
    pairs = _commonest_mistakes(subject.outcomes, 1)
    return _row(subject, *pairs[0]) if pairs else None


def _commonest_mistakes(outcomes: Outcomes, count: int) -> list[tuple[int, int, int]]:
    """True class, predicted class, and how often, the commonest first."""
    wrong = ~outcomes.right
    places, counts = np.unique(outcomes.truth[wrong] * outcomes.classes + outcomes.said[wrong], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:count]
    return [(*divmod(int(places[index]), outcomes.classes), int(counts[index])) for index in order]


def _row(subject: Subject, true: int, said: int, count: int) -> dict[str, Any]:
    """A mistake in words."""
    of_class = int((subject.outcomes.truth == true).sum())
    return {
        "true": subject.names[true],
        "said": subject.names[said],
        "count": count,
        "of": of_class,
        "share": count / of_class,
        "key": cell(true, said),
        "pair": (true, said),
    }


# -- Confusion and classes -----------------------------------------------------------------------------


def confusion(subject: Subject) -> dict[str, Any] | None:
    """Every cell, or of many classes an overview and the commonest mistakes; None where there are several labels."""
    outcomes = subject.outcomes
    if outcomes.several:
        return None
    if outcomes.classes > IN_A_GRID:
        pairs = [_row(subject, *mistake) for mistake in _commonest_mistakes(outcomes, PAIRS)]
        drawn = outcomes.classes <= IN_AN_OVERVIEW
        overview = overview_svg(confusion_matrix(outcomes.truth, outcomes.said, outcomes.classes)) if drawn else None
        return {"grid": None, "pairs": pairs, "overview": overview}
    counts = confusion_matrix(outcomes.truth, outcomes.said, outcomes.classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        [{"count": int(counts[i, j]), "share": float(shares[i, j]), "key": cell(i, j)} for j in range(len(counts))]
        for i in range(len(counts))
    ]
    return {"grid": rows, "pairs": None, "overview": None}


def pairs_of(section: dict[str, Any] | None, classes: int) -> list[tuple[int, int]]:
    """True and predicted class of each cell that can be clicked."""
    if section is None:
        return []
    if section["grid"] is not None:
        return [(i, j) for i in range(classes) for j in range(classes)]
    return [row["pair"] for row in section["pairs"]]


def classes(subject: Subject) -> dict[str, Any]:
    """Figures of each class; of very many, of those that are worst."""
    outcomes = subject.outcomes
    found = class_figures(outcomes.truth, outcomes.said, outcomes.classes)
    order = np.arange(outcomes.classes)
    if len(order) > LISTED:
        order = np.sort(np.argsort(np.where(found.examples > 0, found.f1, 2), kind="stable")[:LISTED])
    truth, said = (outcomes.truth == 1, outcomes.said == 1) if outcomes.several else (outcomes.truth, outcomes.said)
    hits = (
        (truth & said).sum(axis=0)
        if outcomes.several
        else np.bincount(truth[truth == said], minlength=outcomes.classes)
    )
    given = said.sum(axis=0) if outcomes.several else np.bincount(said, minlength=outcomes.classes)
    rows = [
        {
            "label": label,
            "name": subject.names[label],
            "examples": int(found.examples[label]),
            "precision": float(found.precision[label]) if given[label] else None,
            "recall": float(found.recall[label]) if found.examples[label] else None,
            "f1": float(found.f1[label]) if given[label] or found.examples[label] else None,
            "missed": int(found.examples[label] - hits[label]),
            "missed_key": missed(label),
            "stray": int(given[label] - hits[label]),
            "stray_key": stray(label),
        }
        for label in order.tolist()
    ]
    return {"rows": rows, "left_out": outcomes.classes - len(rows), "named": subject.model.class_names is not None}


# -- How sure it is, and how it learned ----------------------------------------------------------------


def reliability(subject: Subject) -> dict[str, Any] | None:
    """How often it is right, by how sure it is; of several labels, each label of each example by itself."""
    outcomes = subject.outcomes
    if outcomes.probabilities is None:
        return None
    if outcomes.several:
        right = (outcomes.truth == outcomes.said).ravel()
        sure = np.where(outcomes.said == 1, outcomes.probabilities, 1 - outcomes.probabilities).ravel()
    else:
        assert outcomes.confidence is not None
        right, sure = outcomes.right, outcomes.confidence
    sure = np.clip(sure, 0, 1)
    found = calibration(right, sure, BINS)
    return {
        "svg": reliability_svg(right, sure, BINS),
        "error": found.expected_error,
        "bins": BINS,
        "confidence": float(sure.mean()),
        "accuracy": float(right.mean()),
        "several": outcomes.several,
        "rows": [
            {
                "low": float(found.edges[place]),
                "high": float(found.edges[place + 1]),
                "examples": int(found.examples[place]),
                "confidence": float(found.confidence[place]),
                "accuracy": float(found.accuracy[place]),
            }
            for place in np.flatnonzero(found.examples)[::-1]
        ],
    }


def curves(subject: Subject) -> dict[str, Any] | None:
    """Loss and accuracy over the epochs."""
    charts = history_svgs(subject.history)
    if not charts:
        return None
    last = [
        (visible(name).replace("_", " "), float(values[-1]))
        for name, values in subject.history.items()
        if len(values) and name not in ("seconds", "communication", "learning_rate")
    ]
    return {
        "charts": charts,
        "epochs": epochs_of(subject.history),
        "last": last[:8],
        "seconds": float(np.sum(subject.history.get("seconds", ()))),
    }


# -- Pictures ------------------------------------------------------------------------------------------


def cards(subject: Subject, indices: Array, artist: Artist | None) -> list[dict[str, Any]]:
    """Examples with what was said of them, how surely, and where the network looked for that."""
    outcomes = subject.outcomes
    drawn: list[tuple[str | None, str | None]] = [(None, None)] * len(indices)
    if artist is not None and len(indices):
        drawn = list(artist.draw_looked(indices, np.array([_looked_for(outcomes, index) for index in indices])))
    return [
        {
            "name": visible(subject.examples.name(index)),
            "picture": picture,
            "looked": looked,
            "said": _labels(subject, index, outcomes.said[index]),
            "true": _labels(subject, index, outcomes.truth[index]),
        }
        for index, (picture, looked) in zip(indices.tolist(), drawn, strict=True)
    ]


def _looked_for(outcomes: Outcomes, index: int) -> int:
    """The class whose places are shown: what was said; of several labels, the one that is most wrong."""
    if not outcomes.several:
        return int(outcomes.said[index])
    assert outcomes.probabilities is not None
    return int(np.abs(outcomes.probabilities[index] - outcomes.truth[index]).argmax())


def _labels(subject: Subject, index: int, said: Any) -> list[dict[str, Any]]:
    """Names of up to six labels, and their probabilities."""
    return [
        {"name": subject.names[label], "sure": subject.outcomes.probability_of(index, label)}
        for label in labels_of(said)[:6]
    ]


def surest_right(outcomes: Outcomes) -> Array:
    """Of each class, the first twelve, the example that it was right about and surest of."""
    if outcomes.several or outcomes.confidence is None:
        return np.arange(0)
    order = np.argsort(-outcomes.confidence, kind="stable")
    order = order[outcomes.right[order]]
    _, first = np.unique(outcomes.truth[order], return_index=True)
    found: Array = order[first[:RIGHT]]
    return found


def filters(subject: Subject) -> dict[str, Any] | None:
    """Those of the first convolution; None where there is none, or all of them are single points."""
    convolutions = [layer for layer in walk(subject.model.layers) if isinstance(layer, ConvolutionLayer)]
    if not convolutions or convolutions[0].filter_size == (1, 1):
        return None
    layer = first_convolution(subject.model.layers, "report")
    tiles = [data_uri(tile) for tile in as_filters(layer)[:FILTERS]]
    height, width, channels = layer.params["W"].shape[:3]
    return {"tiles": tiles, "count": layer.filters, "size": f"{height}{TIMES}{width}", "channels": channels}


# -- The network, and where all this comes from --------------------------------------------------------


def network(subject: Subject) -> dict[str, Any]:
    """Layers, sizes, memory and time."""
    count = min(len(subject.examples), BATCH)
    x = np.ascontiguousarray(subject.examples.take(np.arange(count)), subject.model.dtype)
    rows = layer_costs(subject.model, x)
    return {"rows": rows, "batch": count, "memory_batch": BATCH, **totals(subject.model, rows, count)}


def about(subject: Subject) -> list[tuple[str, str]]:
    """Data, versions, and what the user has to say of them."""
    examples, model = subject.examples, subject.model
    white = "not known" if model.pixel_max is None else f"{model.pixel_max:g} is white"
    rows = {
        "Examples": f"{len(examples):,}, each {TIMES.join(map(str, model.input_shape))}, {examples.kind}",
        "Pixels": white,
    }
    if not is_picture(model.input_shape):
        del rows["Pixels"]
    given = {visible(str(key), 60): visible(str(value), 400) for key, value in list(subject.about.items())[:50]}
    backend = _kernels.backend_in_use()
    machine = f"{platform.system()} {platform.machine()}, {_kernels.get_num_threads()} threads"
    instructions = _kernels.instruction_set_in_use()
    software = {
        "Versions": f"cnnx {__version__}, Python {platform.python_version()}, NumPy {np.__version__}",
        "Machine": f"{machine}, {backend} kernels{f' ({instructions})' if instructions else ''}",
        "Made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    return list({**rows, **given, **software}.items())
