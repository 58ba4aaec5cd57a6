"""What every layer has in common: building, parameters, working arrays, and the cache for the backward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cnnx._typing import Array, DTypeLike, Prepared, Seed, Shape
from cnnx.checks.arrays import check_batch, check_dtype

if TYPE_CHECKING:
    from cnnx.sharing import SharedArray

# The initializer of weights that no activation follows.
UNGATED = "glorot_uniform"


class Layer:
    """A layer: its mathematics, its parameters, and nothing of its neighbours.

    A subclass implements `create` (parameters and output shape), `forward`, `backward` and `config`.

    Attributes
    ----------
    name : str
        How errors and tables call this layer.
    params, grads : dict of str to ndarray
        Parameters, and the gradients of the loss with respect to them, by the same keys. Inside a `Model`
        they are views into its one parameter vector: change them in place.
    state : dict of str to ndarray
        Arrays that training changes but gradient descent does not, such as running averages. A step puts a new
        dict with new arrays in its place and leaves the old ones as they are, so that a step can be taken back and a
        prediction in another thread reads values that belong together.
    rng : numpy.random.Generator or None
        Of a layer that draws random numbers in training.
    input_shape, output_shape : tuple of int
        Shapes of one example; known once the layer is built.
    dtype : numpy.dtype
        float32 or float64.
    needs_input_gradient : bool
        False lets `backward` leave out the gradient for the layer below, and return None: a `Model` says so
        of its first layer.
    sublayers : dict of str to Layer
        The layers that this one holds, by their paths inside it; empty for most. Their `params`, `grads` and `state`
        are this layer's own, under keys such as "0.W": path, dot, key.
    """

    # An activation names the initializer that suits the weights before it.
    preferred_initializer: ClassVar[str | None] = None
    # A layer with weights shields the weights before it from that choice.
    has_weights: ClassVar[bool] = False
    # What `backward` reads of the arrays of the forward pass, so that others may be used again before it; whether it
    # reads the input for the last time before it writes the input gradient, or can write the one over the other; and
    # whether `recompute` can write the output again.
    reads_input: ClassVar[bool] = True
    reads_output: ClassVar[bool] = True
    frees_input: ClassVar[bool] = False
    overwrites_input: ClassVar[bool] = False
    # Whether the output is a view of the input.
    hands_on: ClassVar[bool] = False
    recomputes: ClassVar[bool] = False
    # The parameters that weight decay and penalties act on; biases, and what scales and shifts, are left alone.
    decays: ClassVar[tuple[str, ...]] = ("W",)

    def __init__(self) -> None:
        self.name = type(self).__name__
        self.sublayers: dict[str, Layer] = {}
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.state: dict[str, Array] = {}
        self.rng: np.random.Generator | None = None
        self.built = False
        self.default_initializer = UNGATED
        self.needs_input_gradient = True
        self.keeps_arrays = False
        self._reserved: dict[str, tuple[Shape, np.dtype[Any]]] = {}
        self._kept: dict[str, Array] = {}
        self.borrowed: dict[str, SharedArray] = {}
        # The layer whose output must be computed again before this one's backward pass.
        self.source: Layer | None = None
        self._cache: tuple[Any, ...] | None = None
        # Where kernels keep what they make of parameters that are fixed.
        self.prepared: Prepared | None = None
        self._given: Mapping[str, Array] | None = None

    def build(
        self,
        input_shape: Shape,
        seed: Seed = None,
        dtype: DTypeLike = np.float32,
        params: Mapping[str, Array] | None = None,
    ) -> Shape:
        """Create the parameters for examples of one shape; called again, start afresh.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one example, without the batch axis.
        seed : int, numpy.random.Generator or None
            Where the starting weights come from.
        dtype : {float32, float64}
        params : mapping of str to ndarray, optional
            Values to start from instead, by the keys of `params` and `state`.

        Returns
        -------
        tuple of int
            Shape of the output for one example.

        Raises
        ------
        ValueError
            If the layer cannot take such examples, or `params` has other keys, shapes or another dtype.
        """
        self.dtype = check_dtype(dtype)
        self.input_shape: Shape = tuple(input_shape)
        self.params, self.grads, self.state = {}, {}, {}
        self._reserved, self._kept, self.borrowed = {}, {}, {}
        self._cache, self.source, self.prepared = None, None, None
        self._given = params
        self.output_shape: Shape = self.create(self.input_shape, np.random.default_rng(seed))
        expected = self.params.keys() | self.state.keys()
        if params is not None and params.keys() != expected:
            raise ValueError(f"{self.name}: expected parameters {sorted(expected)}, got {sorted(params)}")
        self._given = None
        self.built = True
        return self.output_shape

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Create `params` and `grads`, reserve the working arrays, and return the output shape."""
        raise NotImplementedError

    def forward(self, x: Array, training: bool = False) -> Array:
        """The layer's output; with `training` it keeps in its cache what `backward` needs."""
        raise NotImplementedError

    def backward(self, grad: Array) -> Array | None:
        """Fill `grads` and return the gradient with respect to the input; uses the cache up."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layer:
        """A new layer with the arguments that `config` gave."""
        return cls(**config)

    def description(self) -> dict[str, Any]:
        """Name of the class and `config`, plain JSON values of which `cnnx.layers.make_layer` makes its like."""
        return {"layer": type(self).__name__, **self.config()}

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle is made of: no working arrays, and nothing of the model that holds the layer."""
        state = {**self.__dict__, "_kept": {}, "borrowed": {}, "_cache": None, "source": None, "prepared": None}
        if "params" in state:  # of a layer that holds others, they are these layers'
            state["params"] = dict(state["params"])
        return state

    def place(self, where: str) -> None:
        """Take the name that goes with a place in a model, such as ``layers[3]``."""
        self.name = f"{where} ({type(self).__name__})"

    def choose_initializer(self, following: str) -> str:
        """Take the default initializer that suits what follows; returns the one that suits the weights before."""
        self.default_initializer = following
        if self.preferred_initializer is not None:
            return self.preferred_initializer
        return UNGATED if self.has_weights else following

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({arguments})"

    def array_bytes(self, batch_size: int) -> int:
        """Bytes of its own working arrays that a training step on `batch_size` examples keeps."""
        return sum(
            batch_size * self.bytes_per_example(name)
            for name in self._reserved
            if name not in self.borrowed and self.reserves(name)
        ) + sum(layer.array_bytes(batch_size) for layer in self.sublayers.values())

    def reserves(self, name: str) -> bool:
        """Whether a training step takes a working array of this name."""
        return name in self._reserved and (self.needs_input_gradient or name != "input_gradient")

    def bytes_per_example(self, name: str) -> int:
        """Size of a working array."""
        shape, dtype = self._reserved[name]
        return math.prod(shape) * dtype.itemsize

    def borrow(self, name: str, shared: SharedArray) -> None:
        """Take a working array from a shared one where arrays are kept from step to step."""
        shared.reserve(self.bytes_per_example(name))
        self.borrowed[name] = shared

    def recompute(self) -> None:
        """Write the output of the last forward pass again; for a layer that `recomputes`."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let go of what `forward` kept for `backward`."""
        self._cache = None
        for layer in self.sublayers.values():
            layer.forget()

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Leave no trace: at the end, `state` and the random numbers to come are what they were before."""
        state, bits = self.state, None if self.rng is None else self.rng.bit_generator.state
        try:
            with ExitStack() as inside:
                for layer in self.sublayers.values():
                    inside.enter_context(layer.rehearsal())
                yield
        finally:
            self.state = state
            if self.rng is not None and bits is not None:
                self.rng.bit_generator.state = bits

    def _add_parameter(self, key: str, shape: Shape, make: Callable[[], Array]) -> None:
        """A parameter, made or given."""
        self.params[key] = self._made_or_given(key, shape, make)
        self.grads[key] = np.zeros(shape, self.dtype)

    def _add_state(self, key: str, shape: Shape, make: Callable[[], Array]) -> None:
        """An array of `state`, made or given."""
        self.state[key] = self._made_or_given(key, shape, make)

    def _made_or_given(self, key: str, shape: Shape, make: Callable[[], Array]) -> Array:
        """A given array is checked before one is made, so that no file can ask for endless memory."""
        if self._given is None:
            return make().astype(self.dtype)
        value = self._given.get(key)
        if value is None or value.shape != shape or value.dtype != self.dtype:
            came = "nothing" if value is None else f"{value.dtype} {value.shape}"
            raise ValueError(f"{self.name}: parameter {key}: expected {self.dtype} {shape}, got {came}")
        return value.copy()

    def _reserve(self, name: str, shape: Shape, dtype: DTypeLike | None = None) -> None:
        """Declare a working array with `shape` for each example."""
        self._reserved[name] = (shape, self.dtype if dtype is None else np.dtype(dtype))

    def _array(self, name: str, batch: int, training: bool = True) -> Array:
        """A reserved array for this batch, with any content.

        It is kept from step to step only where the caller has said that it hands none of them out
        (`keeps_arrays`): fresh memory costs more than the arithmetic of a small network.
        """
        shape, dtype = self._reserved[name]
        if not (training and self.keeps_arrays):
            return np.empty((batch, *shape), dtype)
        kept, shared = self._kept.get(name), self.borrowed.get(name)
        if shared is not None and (kept is None or len(kept) < batch or kept.base is not shared.memory):
            kept = self._kept[name] = shared.array(batch, shape, dtype)
        elif kept is None or len(kept) < batch:
            kept = self._kept[name] = np.empty((batch, *shape), dtype)
        return kept if len(kept) == batch else kept[:batch]

    def _checked_input(self, x: Array) -> Array:
        if not self.built:
            raise RuntimeError(f"{self.name}: forward before build; call build(input_shape) first")
        return check_batch(x, self.input_shape, self.dtype, self.name)

    def _use_up_cache(self, grad: Array) -> tuple[Any, ...]:
        """The checked gradient and what `forward` kept, which is gone then."""
        if self._cache is None:
            raise RuntimeError(f"{self.name}: backward without forward(x, training=True) before it")
        grad = check_batch(grad, self.output_shape, self.dtype, f"{self.name}: gradient")
        if len(grad) != len(self._cache[0]):
            raise ValueError(
                f"{self.name}: gradient: expected a batch of {len(self._cache[0])} as in forward, got {len(grad)}"
            )
        cache, self._cache = self._cache, None
        return (grad, *cache)


def walk(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Every layer, each before the layers that it holds."""
    for layer in layers:
        yield layer
        yield from walk(layer.sublayers.values())


def leaves(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers that hold no others, in order: each parameter, array of state and generator belongs to one of them."""
    return (layer for layer in walk(layers) if not layer.sublayers)


def check_free(layers: Sequence[Layer], owner: str) -> None:
    """Layers, each of which stands nowhere else."""
    for index, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{owner}: expected layers, got {layer!r} at position {index}")
        if any(layer is other for other in layers[:index]) or layer.name != type(layer).__name__:
            raise ValueError(
                f"{owner}: {layer.name} at position {index} already stands in a model or a block; make a new one"
            )


def choose_initializers(layers: Sequence[Layer], following: str = UNGATED) -> str:
    """Give each layer in a row the initializer that the next activation prefers."""
    for layer in reversed(layers):
        following = layer.choose_initializer(following)
    return following


def skip_input_gradients(layers: Iterable[Layer]) -> None:
    """The first layer with parameters and those below it leave out the gradient that only the data would get."""
    below = True
    for layer in layers:
        layer.needs_input_gradient = not below
        below = below and not layer.params


def forward_through(layers: Iterable[Layer], x: Array, training: bool) -> Array:
    """The output of layers in a row."""
    for layer in layers:
        x = layer.forward(x, training)
    return x


def backward_through(layers: Sequence[Layer], grad: Array) -> Array | None:
    """The input gradient of layers in a row; None if they leave it out."""
    below: Array | None = grad
    for layer in reversed(layers):
        if below is None:
            # Below the first layer with parameters there is nothing to compute.
            layer.forget()
        else:
            if layer.source is not None and layer.source.keeps_arrays:
                layer.source.recompute()
            below = layer.backward(below)
    return below


def walk_parameters(layers: Iterable[Layer]) -> Iterator[tuple[Array, bool]]:
    """Each parameter, in the order of a Model's vector, and whether weight decay and penalties act on it."""
    for layer in leaves(layers):
        for key, value in layer.params.items():
            yield value, key in layer.decays


def walk_generators(layers: Iterable[Layer]) -> Iterator[np.random.Generator]:
    """The generator of each layer that draws random numbers in training."""
    for layer in leaves(layers):
        if layer.rng is not None:
            yield layer.rng
