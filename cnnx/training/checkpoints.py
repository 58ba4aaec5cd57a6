"""Checkpoints of training runs: all that a run needs to go on as if it had never stopped, in one safetensors file.

Tensors: ``model.parameters`` and each layer's state, the optimizer's state, and what callbacks keep. Metadata, as JSON:
the run's arguments, where it stands, the states of its generators, and what schedule and callbacks have counted. A
file holds numbers and text; nothing in it is ever executed.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.augmentation.base import AnyAugmentation, Augmentation
from cnnx.data.base import Batches
from cnnx.files.models import architecture
from cnnx.files.tensors import read_tensors, write_tensors
from cnnx.layers.base import walk_generators
from cnnx.schedules import Schedule
from cnnx.training.run import Callback, Position, Run
from cnnx.training.trainable import model_arrays, set_model_arrays

FORMAT = 1
# Of labels whose checksum is taken, at a time.
ROWS = 2**16


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
        "arguments": _arguments(run),
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
    write_tensors(path, tensors, {"cnnx_checkpoint": json.dumps(content, default=_array_as_json)})


def read_checkpoint(path: str | os.PathLike[str]) -> SavedRun:
    """Read a file that `write_checkpoint` wrote; anything else is a ValueError that says what is wrong with it."""
    metadata, tensors = read_tensors(path)
    target = os.fspath(path)
    if "cnnx_checkpoint" not in metadata:
        raise ValueError(f"resume: {target}: not a checkpoint: its metadata has no entry 'cnnx_checkpoint'")
    try:
        content = json.loads(metadata["cnnx_checkpoint"], object_hook=_array_from_json)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"resume: {target}: not a usable checkpoint: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"resume: {target}: expected a checkpoint of format {FORMAT}; a newer cnnx may read it")
    return SavedRun(target, content, tensors)


class SavedRun:
    """A checkpoint that was read; a `Run` takes from it what it needs, in three parts."""

    def __init__(self, path: str, content: dict[str, Any], tensors: dict[str, Array]) -> None:
        self.path, self.content, self.tensors = path, content, tensors

    def restore(self, run: Run) -> None:
        """Weights, optimizer, schedule and position, once the run is known to be of the same kind."""
        content, generators = self.content, list(walk_generators(run.model.layers))
        saved, now = content.get("arguments", {}), _arguments(run)
        for name, value in now.items():
            if saved.get(name) != value:
                raise ValueError(f"resume: {self.path}: {name}: expected {saved.get(name)}, as saved, got {value}")
        try:
            position = Position(**content["position"])
            counts = [position.epoch, position.batch, position.seen, content["steps"]]
            if not all(type(count) is int and count >= 0 for count in counts):
                raise ValueError(f"expected counts, got {counts}")
            if len(content["generators"]) != len(generators):
                raise ValueError(f"expected {len(generators)} generators, got {len(content['generators'])}")
            seed = content["augmentation_seed"]
            if run.augment and not (isinstance(seed, list) and all(type(n) is int and n >= 0 for n in seed)):
                raise ValueError(f"expected a seed of augmentation, got {seed!r}")
            before, progress = float(content["before"]), float(content["progress"])
            expected = [entry["callback"] for entry in content["callbacks"]]
            if isinstance(run.optimizer.learning_rate, Schedule):
                run.optimizer.learning_rate.restore(content["schedule"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"resume: {self.path}: not a usable checkpoint: {error!r}") from None
        callbacks = [type(callback).__name__ for callback in _stateful(run)]
        if callbacks != expected:
            raise ValueError(f"resume: {self.path}: callbacks: expected {expected}, as saved, got {callbacks}")
        if position.epoch - 1 > run.epochs or (position.batch and position.epoch > run.epochs):
            raise ValueError(f"resume: {self.path}: epochs: {run.epochs} are fewer than those that are done")
        try:
            set_model_arrays(run.model, self._tensors("model."))
        except (KeyError, ValueError) as error:
            raise ValueError(f"resume: {self.path}: not a usable checkpoint: {error}") from None
        run.optimizer.restore(content["steps"], progress, self._tensors("optimizer."))
        run.before, run.position, run.augmentation_seed = before, position, seed
        if position.batch and run.rng is not None:
            # The order of the epoch is drawn again first; what has been drawn since comes after that.
            _set_generator(run.rng, position.order, self.path)
        else:
            self._set_generators(run)

    def restore_generators(self, run: Run) -> None:
        """All generators, once the order of the present epoch has been drawn again."""
        if run.position.batch:
            self._set_generators(run)

    def _set_generators(self, run: Run) -> None:
        if run.rng is not None:
            _set_generator(run.rng, self.content["order"], self.path)
        for generator, state in zip(walk_generators(run.model.layers), self.content["generators"], strict=True):
            _set_generator(generator, state, self.path)

    def restore_callbacks(self, run: Run) -> None:
        """What callbacks keep, after they have heard of the run's beginning."""
        for index, (callback, entry) in enumerate(zip(_stateful(run), self.content["callbacks"], strict=True)):
            callback.restore({**entry["state"], **self._tensors(f"callbacks.{index}.")})

    def _tensors(self, prefix: str) -> dict[str, Array]:
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def _arguments(run: Run) -> dict[str, Any]:
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
    }
    plain: dict[str, Any] = json.loads(json.dumps(arguments))
    return plain


def _size_and_labels(batches: Batches) -> list[Any]:
    return [[batches.examples, *batches.input_shape], _checksum(batches.labels)]


def _checksum(array: Array | None) -> int | None:
    """Of all values, some rows at a time; an array of labels may be a mapped file."""
    if array is None:
        return None
    checksum = 0
    for start in range(0, len(array), ROWS):
        checksum = zlib.crc32(np.ascontiguousarray(array[start : start + ROWS]).tobytes(), checksum)
    return checksum


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


def _set_generator(generator: np.random.Generator, state: Any, path: str) -> None:
    try:
        generator.bit_generator.state = state
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"resume: {path}: another kind of random generator was saved: {error}") from None


def _array_as_json(value: Any) -> Any:
    """States of some generators hold arrays of integers."""
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected plain values, got {value!r}")


def _array_from_json(value: dict[str, Any]) -> Any:
    return np.array(value["array"], value["dtype"]) if value.keys() == {"array", "dtype"} else value
