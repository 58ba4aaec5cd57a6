"""TensorFlow: a tf.function over tf.nn operations, without the overhead of Keras."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.networks import (
    BATCH_NORM_EPSILON,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Depthwise,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    Network,
    Relu,
    Residual,
    Weights,
    ways,
    with_input_shapes,
)


class Contestant:
    def __init__(self, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)

    def training(
        self, network: Network, weights: Weights, X: np.ndarray, y: np.ndarray, learning_rate: float
    ) -> Callable[[], float]:
        model = _Network(network, weights)
        images, labels = tf.constant(X), tf.constant(y)

        @tf.function
        def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                logits = model(images, training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses)
            for variable, grad in zip(model.trained, tape.gradient(loss, model.trained), strict=True):
                variable.assign_sub(learning_rate * grad)
            return loss

        return lambda: float(step(images, labels).numpy())

    def inference(self, network: Network, weights: Weights, X: np.ndarray) -> Callable[[], np.ndarray]:
        model = _Network(network, weights)
        images = tf.constant(X)

        @tf.function
        def infer(images: tf.Tensor) -> tf.Tensor:
            return tf.nn.softmax(model(images, training=False))

        return lambda: infer(images).numpy()


class _Network:
    def __init__(self, network: Network, weights: Weights) -> None:
        self.layers = network.layers
        self.variables: list[list[tf.Variable]] = []
        self.statistics: list[list[tf.Variable]] = []
        self.ways: list[list[_Network]] = []
        for (layer, shape), own in zip(with_input_shapes(network), weights, strict=True):
            block = isinstance(layer, Residual)
            both = zip(ways(layer, shape), own, strict=True) if block else ()
            self.ways.append([_Network(way, its) for way, its in both])
            zeros, ones = np.zeros(shape[-1], np.float32), np.ones(shape[-1], np.float32)
            normalizes = isinstance(layer, BatchNorm)
            values = (ones, zeros) if normalizes else () if block or own is None else own
            self.variables.append([tf.Variable(value) for value in values])
            self.statistics.append([tf.Variable(value) for value in (zeros, ones)] if normalizes else [])
        inner = [variable for both in self.ways for way in both for variable in way.trained]
        self.trained = [variable for group in self.variables for variable in group] + inner

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        parts = zip(self.layers, self.variables, self.statistics, self.ways, strict=True)
        for layer, variables, statistics, both in parts:
            match layer:
                case Residual():
                    through, shortcut = both
                    x = through(x, training) + shortcut(x, training)
                case BatchNorm():
                    x = _normalize(x, variables, statistics, training)
                case Dropout(rate):
                    x = tf.nn.dropout(x, rate) if training else x
                case _:
                    x = _apply(layer, x, variables)
        return x


def _apply(layer: Layer, x: tf.Tensor, variables: list[tf.Variable]) -> tf.Tensor:
    match layer:
        case Convolution(_, _, padding, stride):
            return tf.nn.bias_add(tf.nn.conv2d(x, variables[0], stride, _pads(padding)), variables[1])
        case Depthwise(_, padding, stride):
            # Explicit padding ends the process here, and "SAME" pads in another way where the stride is 2.
            x, strides = tf.pad(x, _pads(padding)), [1, stride, stride, 1]
            return tf.nn.bias_add(tf.nn.depthwise_conv2d(x, variables[0], strides, "VALID"), variables[1])
        case Relu():
            return tf.nn.relu(x)
        case MaxPool(size, stride, padding):
            return tf.nn.max_pool2d(x, size, stride, _pads(padding) if padding else "VALID")
        case AveragePool(size, stride):
            return tf.nn.avg_pool2d(x, size, stride, "VALID")
        case GlobalPool():
            return tf.reduce_mean(x, axis=[1, 2])
        case Flatten():
            return tf.reshape(x, [x.shape[0], -1])
        case Dense():
            return tf.nn.bias_add(tf.matmul(x, variables[0]), variables[1])


def _pads(padding: int) -> list[list[int]]:
    return [[0, 0], [padding, padding], [padding, padding], [0, 0]]


def _normalize(x: tf.Tensor, variables: list[tf.Variable], statistics: list[tf.Variable], training: bool) -> tf.Tensor:
    given = {} if training else {"mean": statistics[0], "variance": statistics[1]}
    x, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        x, *variables, epsilon=BATCH_NORM_EPSILON, is_training=training, **given
    )
    if training:
        for running, current in zip(statistics, (mean, variance), strict=True):
            running.assign_add(0.1 * (current - running))
    return x
