"""Which examples belong to each cell of a report's tables, and what a page shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.inspection.names import visible
from cnnx.inspection.outcomes import Outcomes
from cnnx.reporting.examples import Examples

# Examples that a cell shows, and all cells together.
IN_A_CELL, IN_ALL = 24, 1500
# Labels that are named of an example with several.
LABELS = 20
# Pictures that are made at a time.
AT_ONCE = 64

# A picture as a URI, of each example.
Draw = Callable[[Array], list[str]]


def cell(true: int, said: int) -> str:
    """The key of those of one class that were taken for another."""
    return f"{true}-{said}"


def missed(label: int) -> str:
    """The key of a class's examples that were not found."""
    return f"m{label}"


def stray(label: int) -> str:
    """The key of those that were wrongly said to be of a class."""
    return f"f{label}"


class Cells:
    """Numbers of the examples of each cell: of mistakes the surest first, of what is right the least sure.

    Parameters
    ----------
    outcomes : Outcomes
    pairs : list of (int, int)
        True and predicted class of the cells that a page has; empty where examples have several labels.
    labels : list of int
        The classes that it has a row for.
    """

    def __init__(self, outcomes: Outcomes, pairs: list[tuple[int, int]], labels: list[int]) -> None:
        self._outcomes = outcomes
        sure = outcomes.confidence
        order = np.arange(len(outcomes.truth)) if sure is None else np.argsort(-sure, kind="stable")
        self._order: Array = order
        self._members: dict[str, Array] = {}
        truth, said = outcomes.truth[order], outcomes.said[order]
        for label in labels:
            is_it, said_it = (truth[:, label] == 1, said[:, label] == 1) if outcomes.several else (
                truth == label, said == label)  # fmt: skip
            self._add(missed(label), is_it & ~said_it)
            self._add(stray(label), said_it & ~is_it)
        for i, j in pairs:
            self._add(cell(i, j), (truth == i) & (said == j))
            if i == j and cell(i, j) in self._members:
                self._members[cell(i, j)] = self._members[cell(i, j)][::-1]

    def _add(self, key: str, belongs: Array) -> None:
        if belongs.any():
            self._members[key] = self._order[belongs]

    def index_bytes(self) -> int:
        """What the numbers of the examples of all cells take in a page, at most."""
        return sum(len(key) + 20 + 6 * min(len(members), IN_A_CELL) for key, members in self._members.items())

    def _wanted(self) -> Iterator[int]:
        """Examples to show, each once: the first of each cell, then the second; mistakes before what is right."""
        done: set[int] = set()
        by_mistake = sorted(self._members, key=lambda key: (_is_right(key), -len(self._members[key])))
        for depth in range(IN_A_CELL):
            for key in by_mistake:
                members = self._members[key]
                if depth < len(members) and (index := int(members[depth])) not in done:
                    done.add(index)
                    yield index

    def gallery(self, examples: Examples, draw: Draw | None, room: int, size: Callable[[Any], int]) -> dict[str, Any]:
        """What the page's script knows: examples, as many as there is room for, and the numbers of each cell's.

        `size` says how many bytes of a page something takes.
        """
        shown: list[dict[str, Any]] = []
        place: dict[int, int] = {}
        wanted = self._wanted()
        while room > 0 and len(shown) < IN_ALL:
            indices = list(islice(wanted, AT_ONCE))
            if not indices:
                break
            pictures = draw(np.array(indices)) if draw is not None else [None] * len(indices)
            for index, picture in zip(indices, pictures, strict=True):
                entry = self._entry(index, examples.name(index), picture)
                room -= size(entry) + 40
                if room > 0:
                    place[index] = len(shown)
                    shown.append(entry)
        cells = {
            key: [len(members), [place[index] for index in members[:IN_A_CELL].tolist() if index in place]]
            for key, members in self._members.items()
        }
        return {"shown": shown, "cells": cells}

    def _entry(self, index: int, name: str, picture: str | None) -> dict[str, Any]:
        truth, said = self._outcomes.truth[index], self._outcomes.said[index]
        sure = self._outcomes.confidence
        entry: dict[str, Any] = {"n": visible(name), "t": labels_of(truth)[:LABELS], "s": labels_of(said)[:LABELS]}
        if sure is not None:
            entry["p"] = round(float(sure[index]), 3)
        if picture is not None:
            entry["i"] = picture
        return entry


def labels_of(truth: Any) -> list[int]:
    """The classes of one example."""
    return [int(truth)] if np.ndim(truth) == 0 else np.flatnonzero(truth).tolist()


def _is_right(key: str) -> bool:
    true, _, said = key.partition("-")
    return true == said
