"""Checkpoints of training runs: all that a run needs to go on as if it had never stopped, in one safetensors file.

Tensors: ``model.parameters`` and each layer's state, the optimizer's state, and what callbacks keep. Metadata, as JSON:
the run's arguments, where it stands, the states of its generators, and what schedule and callbacks have counted. A
file holds numbers and text; nothing in it is ever executed.
"""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from cnnx._typing import Array
from cnnx.augmentation.base import AnyAugmentation, Augmentation
from cnnx.data.base import Batches
from cnnx.files.models import architecture
from cnnx.files.tensors import CHECKSUM, parse_json, read_tensors, reason, write_tensors
from cnnx.files.writing import previous_of
from cnnx.layers.base import walk_generators
from cnnx.schedules import Schedule
from cnnx.training.checksums import checksum
from cnnx.training.generators import check_generator
from cnnx.training.run import Callback, Position, Run
from cnnx.training.trainable import check_model_arrays, model_arrays, set_model_arrays

FORMAT = 2
# The dtypes of arrays in JSON.
ARRAYS = (
    "|b1",
    "|i1",
    "|u1",
    *(f"{order}{kind}" for order in "<>" for kind in ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8"]),
)

Kind: TypeAlias = tuple[Callable[[Any], bool], str]
COUNT: Kind = (lambda value: type(value) is int and 0 <= value < 2**62, "a count")
NUMBER: Kind = (lambda value: type(value) in (int, float) and abs(value) < 1e300, "a finite number")
AMOUNT: Kind = (lambda value: type(value) in (int, float) and 0 <= value < 2**62, "a finite number of 0 or more")
ENTRIES: Kind = (lambda value: isinstance(value, dict), "entries with names")
ENTRIES_OR_NONE: Kind = (lambda value: value is None or isinstance(value, dict), "entries with names, or null")
LIST: Kind = (lambda value: isinstance(value, list), "a list")
NAME: Kind = (lambda value: isinstance(value, str), "a name")
SEED: Kind = (
    lambda value: value is None or (isinstance(value, list) and all(type(n) is int and 0 <= n < 2**64 for n in value)),
    "a list of counts, or null",
)
# What a checkpoint says, beside its tensors.
CONTENT = {
    "format": COUNT,
    "arguments": ENTRIES,
    "position": ENTRIES,
    "before": AMOUNT,
    "steps": COUNT,
    "progress": AMOUNT,
    "schedule": ENTRIES,
    "augmentation_seed": SEED,
    "order": ENTRIES_OR_NONE,
    "generators": LIST,
    "callbacks": LIST,
}
POSITION = {
    **dict.fromkeys(("epoch", "batch", "seen"), COUNT),
    **dict.fromkeys(("loss", "metric"), NUMBER),
    **dict.fromkeys(("weight", "seconds"), AMOUNT),
    "order": ENTRIES_OR_NONE,
}
CALLBACK = {"callback": NAME, "state": ENTRIES}


def write_checkpoint(path: str | os.PathLike[str], run: Run) -> None:
    """Write where the run stands, between two steps or two epochs."""
    model, optimizer, position = run.model, run.optimizer, asdict(run.position)
    if run.position.batch:
        position["seconds"] = run.seconds
    arrays, state = model_arrays(model), dict(optimizer.state)
    if run.averaged:
        arrays["parameters"], state["average"] = state["average"], arrays["parameters"]
    tensors = {f"model.{name}": value for name, value in arrays.items()}
    tensors |= {f"optimizer.{name}": value for name, value in state.items()}
    callbacks = []
    for index, callback in enumerate(_stateful(run)):
        kept = callback.state()
        tensors |= {f"callbacks.{index}.{name}": value for name, value in kept.items() if _is_array(value)}
        plain = {name: value for name, value in kept.items() if not _is_array(value)}
        callbacks.append({"callback": type(callback).__name__, "state": plain})
    rate = optimizer.learning_rate
    content = {
        "format": FORMAT,
        "arguments": run_arguments(run),
        "position": position,
        "before": run.before,
        "steps": optimizer.steps,
        "progress": optimizer.progress,
        "schedule": rate.state() if isinstance(rate, Schedule) else {},
        "augmentation_seed": run.augmentation_seed,
        "order": None if run.rng is None else run.rng.bit_generator.state,
        "generators": [generator.bit_generator.state for generator in walk_generators(model.layers)],
        "callbacks": callbacks,
    }
    # The one before stays, for a disk may damage the newest.
    write_tensors(path, tensors, {"cnnx_checkpoint": json.dumps(content, default=_array_as_json)}, keep_previous=True)


def read_checkpoint(path: str | os.PathLike[str]) -> SavedRun:
    """Read a file that `write_checkpoint` wrote; anything else is a ValueError that says what is wrong with it.

    Of a damaged file the one before is taken, with a warning, if that one is whole.
    """
    target = os.fspath(path)
    try:
        metadata, tensors = read_tensors(target)
    except ValueError as error:
        before = previous_of(target)
        try:
            metadata, tensors = read_tensors(before)
        except (ValueError, OSError):
            raise ValueError(f"resume: {error}") from None
        warnings.warn(f"resume: {error}; going on from the checkpoint before, {before}", RuntimeWarning, stacklevel=4)
        target = before
    if "cnnx_checkpoint" not in metadata:
        raise ValueError(f"resume: {target}: not a checkpoint: its metadata has no entry 'cnnx_checkpoint'")
    with _usable(target):
        content = parse_json(metadata["cnnx_checkpoint"], _array_from_json)
        made = content.get("format") if isinstance(content, dict) else None
        if type(made) is not int or made != FORMAT:
            raise ValueError(f"expected a checkpoint of format {FORMAT}, got {made!r}; a newer cnnx may read it")
        if CHECKSUM not in metadata:
            raise ValueError(f"its metadata has no entry {CHECKSUM!r}")
        _check_kinds(content, CONTENT)
        _check_kinds(content["position"], POSITION, "position: ")
        for index, entry in enumerate(content["callbacks"]):
            _check_kinds(entry, CALLBACK, f"callbacks[{index}]: ")
    return SavedRun(target, content, tensors)


@contextmanager
def _usable(path: str) -> Iterator[None]:
    """Inside, what cannot be made of a file's content is a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"resume: {path}: not a usable checkpoint: {reason(error)}") from None


def _check_kinds(content: Any, kinds: dict[str, Kind], where: str = "") -> None:
    """An entry of the right kind under each name, and no others."""
    if not isinstance(content, dict):
        raise ValueError(f"{where}expected the entries {sorted(kinds)}, got {content!r}")
    for name, (fits, what) in kinds.items():
        if name not in content:
            raise KeyError(f"{where}{name}")
        if not fits(content[name]):
            raise ValueError(f"{where}{name}: expected {what}, got {content[name]!r}")
    if unknown := content.keys() - kinds.keys():
        raise ValueError(f"{where}expected the entries {sorted(kinds)}, got {sorted(unknown)}, too")


class SavedRun:
    """A checkpoint that was read; a `Run` takes from it what it needs, in three parts."""

    def __init__(self, path: str, content: dict[str, Any], tensors: dict[str, Array]) -> None:
        self.path, self.content, self.tensors = path, content, tensors

    def restore(self, run: Run) -> None:
        """Weights, optimizer, schedule and position, once all that the file holds is known to fit the run."""
        saved, content, rate = self.content["arguments"], self.content, run.optimizer.learning_rate
        for name, value in run_arguments(run).items():
            if saved.get(name) != value:
                raise ValueError(f"resume: {self.path}: {name}: expected {saved.get(name)}, as saved, got {value}")
        expected = [entry["callback"] for entry in content["callbacks"]]
        callbacks = [type(callback).__name__ for callback in _stateful(run)]
        if callbacks != expected:
            raise ValueError(f"resume: {self.path}: callbacks: expected {expected}, as saved, got {callbacks}")
        position = Position(**content["position"])
        if position.epoch - 1 > run.epochs or (position.batch and position.epoch > run.epochs):
            raise ValueError(f"resume: {self.path}: epochs: {run.epochs} are fewer than those that are done")
        with _usable(self.path):
            self._check_numbers(run, position)
            self._check_tensors(run)
            if isinstance(rate, Schedule):
                copy.deepcopy(rate).restore(content["schedule"])
        self._before = _Before(run)
        if isinstance(rate, Schedule):
            rate.restore(content["schedule"])
        set_model_arrays(run.model, self._tensors("model."))
        run.optimizer.restore(content["steps"], float(content["progress"]), self._tensors("optimizer."))
        run.before, run.position = float(content["before"]), position
        run.augmentation_seed = content["augmentation_seed"]
        if position.batch and run.rng is not None:
            # The order of the epoch is drawn again first; what has been drawn since comes after that.
            assert position.order is not None  # it has been checked
            run.rng.bit_generator.state = position.order
        else:
            self._set_generators(run)

    def restore_generators(self, run: Run) -> None:
        """All generators, once the order of the present epoch has been drawn again."""
        if run.position.batch:
            self._set_generators(run)

    def restore_callbacks(self, run: Run) -> None:
        """What callbacks keep, after they have heard of the run's beginning; all is as before if one cannot use it."""
        callbacks = [(index, each, each.state()) for index, each in enumerate(_stateful(run)) if run.tells(each)]
        try:
            for index, callback, _ in callbacks:
                with _usable(f"{self.path}: callbacks[{index}] ({type(callback).__name__})"):
                    callback.restore({**self.content["callbacks"][index]["state"], **self._of_callback(index)})
        except ValueError:
            self._before.take_back(run)
            for _, callback, state in callbacks:
                with suppress(Exception):
                    callback.restore(state)
            raise

    def _check_numbers(self, run: Run, position: Position) -> None:
        """Counts, and states of generators."""
        content, generators = self.content, list(walk_generators(run.model.layers))
        if position.epoch < 1 or position.batch > run.batches or position.seen < position.batch:
            raise ValueError(f"position: expected at most {run.batches} batches and an example in each, got {position}")
        if run.augment and content["augmentation_seed"] is None:
            raise ValueError("augmentation_seed: expected a seed of augmentation, got None")
        if len(content["generators"]) != len(generators):
            raise ValueError(f"expected {len(generators)} generators, got {len(content['generators'])}")
        for generator, state in zip(generators, content["generators"], strict=True):
            check_generator(generator, state)
        if run.rng is not None:
            check_generator(run.rng, content["order"])
            if position.batch:
                check_generator(run.rng, position.order)

    def _check_tensors(self, run: Run) -> None:
        """Each belongs to model, optimizer or a callback, and those of the first two fit."""
        check_model_arrays(run.model, self._tensors("model."))
        start = run.optimizer.start(run.model.parameters)
        if run.optimizer.ema is not None:
            start["average"] = run.model.parameters
        expected = {name: (value.shape, value.dtype) for name, value in start.items()}
        state = self._tensors("optimizer.")
        if (state or self.content["steps"]) and _shapes(state) != expected:
            raise ValueError(f"expected the arrays {expected} of the optimizer, got {_shapes(state)}")
        known = ("model.", "optimizer.", *(f"callbacks.{index}." for index in range(len(self.content["callbacks"]))))
        for name in self.tensors:
            if not name.startswith(known):
                raise ValueError(f"tensor {name!r}: belongs to nothing in this run")

    def _set_generators(self, run: Run) -> None:
        if run.rng is not None:
            run.rng.bit_generator.state = self.content["order"]
        for generator, state in zip(walk_generators(run.model.layers), self.content["generators"], strict=True):
            generator.bit_generator.state = state

    def _of_callback(self, index: int) -> dict[str, Array]:
        return self._tensors(f"callbacks.{index}.")

    def _tensors(self, prefix: str) -> dict[str, Array]:
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


class _Before:
    """What restoring a run changes, as it was."""

    def __init__(self, run: Run) -> None:
        optimizer, rate = run.optimizer, run.optimizer.learning_rate
        self.model = model_arrays(run.model)
        self.optimizer = {name: getattr(optimizer, name) for name in ("steps", "progress", "state", "_parameters")}
        self.schedule = rate.state() if isinstance(rate, Schedule) else {}
        self.generators = [(each, each.bit_generator.state) for each in _generators(run)]

    def take_back(self, run: Run) -> None:
        set_model_arrays(run.model, self.model)
        for name, value in self.optimizer.items():
            setattr(run.optimizer, name, value)
        if isinstance(run.optimizer.learning_rate, Schedule):
            run.optimizer.learning_rate.restore(self.schedule)
        for generator, state in self.generators:
            generator.bit_generator.state = state


def _generators(run: Run) -> list[np.random.Generator]:
    return [*walk_generators(run.model.layers), *([] if run.rng is None else [run.rng])]


def _shapes(arrays: dict[str, Array]) -> dict[str, tuple[Any, ...]]:
    return {name: (value.shape, value.dtype) for name, value in arrays.items()}


def run_arguments(run: Run) -> dict[str, Any]:
    """What must be the same in a run that goes on with another, as plain JSON values."""
    model, source, validation = run.model, run.source, run.validation
    arguments = {
        "model": architecture(model.layers, model.input_shape, model.dtype),
        "examples": [source.examples, *source.input_shape],
        "labels": _checksum(source.labels),
        "weights": _checksum(source.weights),
        "class_weight": run.class_weight,
        "validation": None if validation is None else _size_and_labels(validation),
        "batch_size": source.batch_size,
        "shuffle": run.rng is not None,
        "optimizer": [type(run.optimizer).__name__, run.optimizer.config()],
        "regularizers": [regularizer.config() for regularizer in run.regularizers],
        "augment": [_augmentation_config(augmentation) for augmentation in run.augment],
        "shards": run.shards,
    }
    plain: dict[str, Any] = json.loads(json.dumps(arguments))
    return plain


def _size_and_labels(batches: Batches) -> list[Any]:
    return [[batches.examples, *batches.input_shape], _checksum(batches.labels)]


def _checksum(array: Array | None) -> int | None:
    return None if array is None else checksum(array)


def _augmentation_config(augmentation: AnyAugmentation) -> list[Any]:
    """An augmentation's name and arguments; of a function of one's own, the name alone."""
    if isinstance(augmentation, Augmentation):
        return [augmentation.name, augmentation.config()]
    return [getattr(augmentation, "__qualname__", type(augmentation).__name__), None]


def _stateful(run: Run) -> list[Callback]:
    """The callbacks whose class has a `state` of its own."""
    return [callback for callback in run.callbacks if type(callback).state is not Callback.state]


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _array_as_json(value: Any) -> Any:
    """States of some generators hold arrays of integers."""
    if isinstance(value, np.ndarray) and value.dtype.str in ARRAYS:
        return {"array": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected plain values or arrays of numbers, got {value!r}")


def _array_from_json(value: dict[str, Any]) -> Any:
    if value.keys() != {"array", "dtype"}:
        return value
    if value["dtype"] not in ARRAYS:
        raise ValueError(f"array: dtype: expected one of {ARRAYS}, got {value['dtype']!r}")
    return np.array(value["array"], value["dtype"])
