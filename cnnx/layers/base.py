"""What every layer has in common: building, parameters, and the door to its mathematics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import numpy as np

from cnnx._configured import Configured, plain
from cnnx._typing import Array, DTypeLike, Seed, Shape
from cnnx.checks.arrays import check_batch, check_dtype
from cnnx.checks.geometry import check_array_shape, check_indexable
from cnnx.memory.arrays import Reservation
from cnnx.memory.context import FRESH, Context
from cnnx.memory.uses import Uses

# The initializer of weights that no activation follows.
UNGATED = "glorot_uniform"


class Layer(Configured):
    """A layer: its mathematics, its parameters, and nothing of its neighbours.

    A subclass implements `create` (parameters and output shape), `compute`, `backpropagate` and `config`. One that
    needs no working memory of a model may override `forward` and `backward` instead, and is then called by these.

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
    reserved : dict of str to Reservation
        The working arrays that `compute` and `backpropagate` take; known once the layer is built.
    sublayers : dict of str to Layer
        The layers that this one holds, by their paths inside it; empty for most. Their `params`, `grads` and `state`
        are this layer's own, under keys such as "0.W": path, dot, key.
    """

    # What the passes do with their arrays.
    uses: ClassVar[Uses] = Uses()
    # An activation names the initializer that suits the weights before it.
    preferred_initializer: ClassVar[str | None] = None
    # A layer with weights shields the weights before it from that choice.
    has_weights: ClassVar[bool] = False
    # The arguments that are lists of layers.
    holds: ClassVar[tuple[str, ...]] = ()
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
        self.reserved: dict[str, Reservation] = {}
        self._cache: tuple[Any, ...] | None = None
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
        self.input_shape: Shape = check_indexable(tuple(input_shape), f"{self.name}: input")
        self.params, self.grads, self.state = {}, {}, {}
        self.reserved, self._cache, self._given = {}, None, params
        output_shape = self.create(self.input_shape, np.random.default_rng(seed))
        self.output_shape: Shape = check_array_shape(output_shape, f"{self.name}: output")
        expected = self.params.keys() | self.state.keys()
        if params is not None and params.keys() != expected:
            raise ValueError(f"{self.name}: expected parameters {sorted(expected)}, got {sorted(params)}")
        self._given = None
        if not self.uses.view:
            self._reserve("output", self.output_shape)
            self._reserve("input_gradient", self.input_shape)
        self.built = True
        return self.output_shape

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Create `params` and `grads`, reserve what is needed beside output and input gradient; the output shape."""
        raise NotImplementedError

    def compute(self, x: Array, context: Context) -> Array:
        """The output, (batch, *input_shape) to (batch, *output_shape); `backpropagate` is kept what it needs."""
        raise NotImplementedError

    def backpropagate(self, grad: Array, context: Context) -> Array | None:
        """Fill `grads` and return the gradient with respect to the input, unless the context wants none."""
        raise NotImplementedError

    def recompute(self, context: Context) -> None:
        """Write the output of the last `compute` again, where `uses` says that it can be."""
        raise NotImplementedError

    def forward(self, x: Array, training: bool = False) -> Array:
        """The layer's output; with `training` it keeps in its cache what `backward` needs.

        Parameters
        ----------
        x : array_like of shape (batch, *input_shape)
        training : bool

        Returns
        -------
        ndarray of shape (batch, *output_shape)
        """
        x, context = self._checked_input(x), self._context(training)
        y = self.compute(x, context)
        if training:
            self._cache = (x, context)
        return y

    def backward(self, grad: Array) -> Array:
        """Fill `grads` and return the gradient with respect to the input; uses the cache up.

        Parameters
        ----------
        grad : array_like of shape (batch, *output_shape)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray of shape (batch, *input_shape)
        """
        grad, _, context = self._use_up_cache(grad)
        below = self.backpropagate(grad, context)
        assert below is not None  # the context wants it
        return below

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values, but for a seed; `config` gives them, too."""
        return {name: plain(value) for name, value in super().arguments().items() if name != "seed"}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layer:
        """A new layer with the arguments that `config` gave; what it `holds` are layers already."""
        return cls(**config)

    def description(self) -> dict[str, Any]:
        """Name of the class and `config`, plain JSON values of which `cnnx.layers.make_layer` makes its like."""
        return {"layer": type(self).__name__, **self.config()}

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle is made of: no working arrays."""
        state = {**self.__dict__, "_cache": None}
        if "params" in state:  # of a layer that holds others, they are these layers'
            state["params"] = dict(state["params"])
        return state

    def place(self, where: str) -> None:
        """Take the name that goes with a place in a model, such as ``layers[3]``."""
        self.name = f"{where} ({type(self).__name__})"

    def leave_place(self) -> None:
        """Stand in no model again, so that another may take the layer; what it stood in must be given up."""
        self.name = type(self).__name__

    def choose_initializer(self, following: str) -> str:
        """Take the default initializer that suits what follows; returns the one that suits the weights before."""
        self.default_initializer = following
        if self.preferred_initializer is not None:
            return self.preferred_initializer
        return UNGATED if self.has_weights else following

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
        check_array_shape(shape, f"{self.name}: parameter {key}")
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

    def _reserve(self, name: str, shape: Shape, dtype: DTypeLike | None = None, **how: bool) -> None:
        """Declare a working array, with `shape` for each example unless `how`, as in `Reservation`, says otherwise."""
        self.reserved[name] = Reservation(shape, self.dtype if dtype is None else np.dtype(dtype), **how)

    def _context(self, training: bool) -> Context:
        """What the layer's mathematics is given where no model gives it."""
        return Context(self.name, self.reserved, FRESH, training)

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
    before: set[int] = set()
    for index, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{owner}: expected layers, got {layer!r} at position {index}")
        if id(layer) in before or layer.name != type(layer).__name__:
            raise ValueError(
                f"{owner}: {layer.name} at position {index} already stands in a model or a block; make a new one"
            )
        before.add(id(layer))


def choose_initializers(layers: Sequence[Layer], following: str = UNGATED) -> str:
    """Give each layer in a row the initializer that the next activation prefers."""
    for layer in reversed(layers):
        following = layer.choose_initializer(following)
    return following


def forward_through(layers: Iterable[Layer], x: Array, training: bool) -> Array:
    """The output of layers in a row."""
    for layer in layers:
        x = layer.forward(x, training)
    return x


def backward_through(layers: Sequence[Layer], grad: Array) -> Array:
    """The input gradient of layers in a row."""
    for layer in reversed(layers):
        grad = layer.backward(grad)
    return grad


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
