"""
Signals: finding the shape of a pulse
=====================================

A signal is a picture that is one pixel high. Here are pulses of three shapes at unknown places in noise, and a network
whose filters are 9 samples long. No feature is made by hand.
"""

import matplotlib.pyplot as plt
import numpy as np

import cnnx

rng = np.random.default_rng(0)
SHAPES = ("bell", "saw", "burst")
TIME = np.arange(128)


def pulse(shape: str) -> np.ndarray:
    """A pulse of some width at some place, in noise."""
    place, width = rng.uniform(30, 98), rng.uniform(4, 9)
    t = (TIME - place) / width
    inside = np.abs(t) < 2
    clean = {"bell": np.exp(-(t**2)), "saw": inside * t / 2, "burst": np.exp(-(t**2)) * np.cos(6 * t)}
    return np.asarray(clean[shape] + rng.normal(0, 0.25, TIME.size))


def draw(examples: int) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(len(SHAPES), size=examples)
    return np.stack([pulse(SHAPES[label]) for label in y])[:, None, :, None], y


X, y = draw(2000)
X_test, y_test = draw(500)

figure, panels = plt.subplots(1, 3, figsize=(9, 2.2), layout="constrained", sharey=True)
for label, panel in enumerate(panels):
    panel.plot(X[y == label][0, 0, :, 0], linewidth=1)
    panel.set_title(SHAPES[label])

# %%
# Filters and windows are given as (height, width): the height is 1.

model = cnnx.Model(
    cnnx.StandardizeLayer(),
    cnnx.ConvolutionLayer(filters=16, filter_size=(1, 9), padding=(0, 4)),
    cnnx.BatchNormLayer(),
    cnnx.ReluLayer(),
    cnnx.PoolLayer(filter_size=(1, 2)),
    cnnx.ConvolutionLayer(filters=32, filter_size=(1, 9), padding=(0, 4)),
    cnnx.BatchNormLayer(),
    cnnx.ReluLayer(),
    cnnx.GlobalPoolLayer("max"),
    cnnx.DenseLayer(units=3),
    cnnx.SoftmaxLayer(),
)
model.class_names = SHAPES
model.train(X, y, optimizer="adamw", epochs=6, batch_size=32, seed=0, verbose=False)
print(f"test accuracy {model.evaluate(X_test, y_test)[1]:.1%}")

# %%
# What the first layer listens for.

filters = model.layers[1].params["W"][0, :, 0, :]
figure, panels = plt.subplots(2, 8, figsize=(9, 2.4), layout="constrained", sharex=True, sharey=True)
for panel, weights in zip(panels.flat, filters.T, strict=True):
    panel.plot(weights)
    panel.axis("off")
plt.show()
