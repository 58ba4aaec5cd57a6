"""
A training loop by hand
=======================

`Model.train` is a loop over batches that goes forward and backward, and changes one vector of parameters. Here it is
written out, with a picture of the way that gradient descent takes.
"""

import matplotlib.pyplot as plt
import numpy as np

import cnnx

(X, y), (X_test, y_test) = cnnx.datasets.load_digits()
model = cnnx.Model(
    cnnx.ConvolutionLayer(filters=8, filter_size=3),
    cnnx.ReluLayer(),
    cnnx.PoolLayer(filter_size=2),
    cnnx.Flatten(),
    cnnx.DenseLayer(units=10),
    cnnx.SoftmaxLayer(),
)
model.build(X.shape[1:], seed=0)

rng = np.random.default_rng(0)
velocity = np.zeros_like(model.parameters)
way, losses = [], []
for step in range(400):
    batch = rng.integers(len(X), size=32)
    model.forward(X[batch], training=True)
    model.backward(y[batch])
    velocity = 0.9 * velocity - 0.05 * model.gradients
    model.parameters += velocity
    if step % 10 == 0:
        way.append(model.parameters.copy())
        losses.append(model.evaluate(X_test, y_test)[0])
print(f"test accuracy {model.evaluate(X_test, y_test)[1]:.1%}")

# %%
# All parameters are one vector, so that a run is a line in space; here it is, in the plane of its widest directions.

centred = np.stack(way) - np.mean(way, axis=0)
_, _, directions = np.linalg.svd(centred, full_matrices=False)
flat = centred @ directions[:2].T

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
axes.plot(flat[:, 0], flat[:, 1], color="lightgray", zorder=0)
points = axes.scatter(flat[:, 0], flat[:, 1], c=np.log10(losses))
figure.colorbar(points, label="log10 of the test loss")
axes.set(xlabel="first direction", ylabel="second direction")
plt.show()
