"""The loss of 100 steps beside PyTorch's: same network, same starting weights, same batches, nothing random.

    python -m benchmarks.loss_curve

The network has a convolution, batch normalization, ReLU, max pooling, a residual block and a dense layer. It learns the
8x8 digits that come with cnnx, with SGD and momentum, then with Adam, in float32 and in float64. Exits with 1 if two
losses of the same step differ by more than 1e-4. It needs torch.

To each pixel a little noise is added, once, from a fixed seed: many windows of the digits are alike, and among equal
values rounding decides which of them max pooling sends the gradient to. Adam's epsilon is larger than usual: where a
gradient is exactly zero, one library's sum may leave a rounding error, which an epsilon of 1e-8 makes a whole step of.
"""

import sys

import numpy as np

import cnnx
from cnnx.layers.base import Layer, leaves
from cnnx.optimizers import SGD, Adam, Optimizer

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit("loss_curve: it compares with PyTorch, which is not installed: python -m pip install torch")

STEPS = 100
BATCH = 64
LIMIT = 1e-4
NOISE = 0.1
CLASSES = 10
FILTERS = 16
EPSILON = 1e-5

OPTIMIZERS = {
    "SGD": (lambda: SGD(0.05, momentum=0.9), lambda parameters: torch.optim.SGD(parameters, 0.05, momentum=0.9)),
    "Adam": (
        lambda: Adam(1e-3, epsilon=EPSILON),
        lambda parameters: torch.optim.Adam(parameters, 1e-3, eps=EPSILON),
    ),
}


def build(dtype: str) -> cnnx.Model:
    model = cnnx.Model(
        cnnx.ConvolutionLayer(FILTERS, filter_size=3, padding=1),
        cnnx.BatchNormLayer(),
        cnnx.ReluLayer(),
        cnnx.PoolLayer(filter_size=2),
        cnnx.ResidualLayer(
            cnnx.ConvolutionLayer(2 * FILTERS, filter_size=3, stride=2, padding=1),
            cnnx.BatchNormLayer(),
            cnnx.ReluLayer(),
            cnnx.ConvolutionLayer(2 * FILTERS, filter_size=3, padding=1),
            cnnx.BatchNormLayer(),
            shortcut=[cnnx.ConvolutionLayer(2 * FILTERS, filter_size=1, stride=2), cnnx.BatchNormLayer()],
        ),
        cnnx.ReluLayer(),
        cnnx.Flatten(),
        cnnx.DenseLayer(units=CLASSES),
        cnnx.SoftmaxLayer(),
    )
    # Drawn in double precision and rounded, so that both precisions start from the same weights.
    model.build((8, 8, 1), seed=0, dtype=dtype)
    return model


class Block(nn.Module):
    """What `cnnx.ResidualLayer` computes."""

    def __init__(self) -> None:
        super().__init__()
        self.through = nn.Sequential(
            nn.Conv2d(FILTERS, 2 * FILTERS, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * FILTERS),
            nn.ReLU(),
            nn.Conv2d(2 * FILTERS, 2 * FILTERS, 3, padding=1),
            nn.BatchNorm2d(2 * FILTERS),
        )
        self.past = nn.Sequential(nn.Conv2d(FILTERS, 2 * FILTERS, 1, stride=2), nn.BatchNorm2d(2 * FILTERS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.through(x) + self.past(x)


class FlattenChannelsLast(nn.Module):
    """Rows, columns, channels: the order in which cnnx flattens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def build_torch(model: cnnx.Model) -> nn.Module:
    """The same network with a copy of the weights."""
    network = nn.Sequential(
        nn.Conv2d(1, FILTERS, 3, padding=1),
        nn.BatchNorm2d(FILTERS),
        nn.ReLU(),
        nn.MaxPool2d(2),
        Block(),
        nn.ReLU(),
        FlattenChannelsLast(),
        nn.Linear(2 * 2 * 2 * FILTERS, CLASSES),
    ).to(getattr(torch, model.dtype.name))
    copy_parameters(model, network)
    return network.train()


def copy_parameters(model: cnnx.Model, network: nn.Module) -> None:
    """Into the network's modules, which must come in the order of the model's layers."""
    modules = [module for module in network.modules() if hasattr(module, "weight")]
    layers = [layer for layer in leaves(model.layers) if layer.params]
    for module, layer in zip(modules, layers, strict=True):
        for tensor, values in zip((module.weight, module.bias), torch_parameters(layer), strict=True):
            tensor.data.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def torch_parameters(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """The weight and bias of a layer, in the shapes that PyTorch gives them."""
    if isinstance(layer, cnnx.BatchNormLayer):
        return layer.params["gamma"], layer.params["beta"]
    # (height, width, channels, filters) to (filters, channels, height, width); (inputs, units) to (units, inputs).
    W = layer.params["W"]
    return W.transpose(3, 2, 0, 1) if W.ndim == 4 else W.T, layer.params["b"]


def draw_batches(dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The digits, with noise, in the order in which they come, again and again."""
    (X, y), _ = cnnx.datasets.load_digits()
    X = (X + np.random.default_rng(0).normal(0, NOISE, X.shape)).astype(dtype)
    return [(X[chosen], y[chosen]) for chosen in (np.arange(i * BATCH, (i + 1) * BATCH) % len(X) for i in range(STEPS))]


def losses(model: cnnx.Model, optimizer: Optimizer, dtype: str) -> np.ndarray:
    return np.array([model.train_on_batch(X, y, optimizer=optimizer) for X, y in draw_batches(dtype)])


def losses_torch(network: nn.Module, optimizer: torch.optim.Optimizer, dtype: str) -> np.ndarray:
    curve = []
    for X, y in draw_batches(dtype):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(torch.from_numpy(X).permute(0, 3, 1, 2)), torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    return np.array(curve)


def main() -> int:
    print(f"{STEPS} steps of {BATCH} digits, cnnx {cnnx.__version__} beside PyTorch {torch.__version__}\n")
    print("optimizer  dtype    first loss  last loss  largest difference  in step")
    worst = 0.0
    for name, (make_optimizer, make_torch_optimizer) in OPTIMIZERS.items():
        for dtype in ("float32", "float64"):
            model = build(dtype)
            network = build_torch(model)
            curve = losses(model, make_optimizer(), dtype)
            differences = abs(curve - losses_torch(network, make_torch_optimizer(network.parameters()), dtype))
            step = int(differences.argmax())
            print(
                f"{name:9}  {dtype}  {curve[0]:10.6f}  {curve[-1]:9.6f}  {differences[step]:18.1e}  {step + 1:7}",
                flush=True,
            )
            # A difference that is NaN is no agreement.
            worst = max(worst, differences[step] if np.isfinite(differences).all() else np.inf)
    agree = worst <= LIMIT
    print(f"\nthe curves {'agree' if agree else 'do NOT agree'} to {LIMIT:g}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
