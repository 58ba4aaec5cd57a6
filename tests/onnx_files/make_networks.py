"""The small networks of other libraries that the tests load: `python tests/onnx_files/make_networks.py`.

It needs PyTorch, Keras with TensorFlow, tf2onnx, scikit-learn and skl2onnx, and writes a file for each network into
`networks/` and, into `networks/expected.npz`, examples and what the library itself computes of them.
"""

import os
import warnings
from pathlib import Path

import numpy as np

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "KERAS_BACKEND": "tensorflow"}

FOLDER = Path(__file__).parent / "networks"
BATCH = 3


def rough(array, rng):
    """Weights as after some training: no zeros for biases, no ones for scales."""
    return (array + 0.2 * rng.standard_normal(array.shape)).astype(array.dtype)


# -- PyTorch ---------------------------------------------------------------------------------------------


def torch_networks():
    """Name, module, shape of an example, and arguments of the exporter."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, channels, after, stride=1):
            super().__init__()
            self.way = nn.Sequential(
                nn.Conv2d(channels, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))  # fmt: skip
            self.past = nn.Conv2d(channels, after, 1, stride) if channels != after or stride != 1 else nn.Identity()

        def forward(self, x):
            return torch.relu(self.way(x) + self.past(x))

    class View(nn.Module):
        def forward(self, x):
            return x.view(x.size(0), -1)

    class Normalize(nn.Module):
        def forward(self, x):
            return (x - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.2, 0.3, 0.25])[:, None, None]

    class LogSoftmax(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.dense = nn.Conv2d(1, 4, 3), nn.Linear(36, 5)

        def forward(self, x):
            x = torch.nn.functional.max_pool2d(torch.relu(self.convolution(x)), 2)
            return torch.log_softmax(self.dense(torch.flatten(x, 1)), dim=1)

    class ChannelsLast(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.norm = nn.LayerNorm(channels)

        def forward(self, x):
            return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    legacy, new = {"dynamo": False, "opset_version": 17}, {"dynamo": True}
    yield "torch_lenet", nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 4, 3), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 5)), (1, 8, 8), legacy  # fmt: skip
    yield "torch_resnet", nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.ReLU(), Residual(4, 4), Residual(4, 6, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)), (3, 8, 8), legacy  # fmt: skip
    yield "torch_resnet_new", nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.ReLU(), Residual(4, 6, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)), (3, 8, 8), new  # fmt: skip
    yield "torch_mobile", nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.Hardswish(),
        nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False), nn.BatchNorm2d(6), nn.SiLU(), nn.Conv2d(6, 8, 1),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d((1, 1)),
        nn.Conv2d(8, 5, 1), nn.Flatten()), (3, 9, 7), legacy  # fmt: skip
    yield "torch_activations", nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 1), nn.ELU(0.7), nn.Conv2d(4, 4, 1), nn.SELU(),
        nn.Conv2d(4, 4, 1), nn.Softplus(), nn.PReLU(4), nn.Flatten(), nn.Linear(64, 6), nn.PReLU(), nn.Linear(6, 3),
        nn.Softmax(1)), (2, 6, 6), legacy  # fmt: skip
    yield "torch_activations_new", nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 1), nn.ELU(0.7), nn.SiLU(), nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(), nn.Linear(16, 1), nn.Sigmoid()), (2, 6, 6), new  # fmt: skip
    yield "torch_view", nn.Sequential(
        Normalize(), nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Dropout(0.5),
        nn.MaxPool2d(3, 2, 1), View(), nn.Linear(60, 3)), (3, 7, 8), legacy  # fmt: skip
    yield "torch_log_softmax", LogSoftmax(), (1, 8, 8), legacy
    yield "torch_norms", nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), ChannelsLast(4), nn.Conv2d(4, 6, 3, 2),
        nn.InstanceNorm2d(6, affine=True), nn.Flatten(), nn.BatchNorm1d(24), nn.Linear(24, 5), nn.LayerNorm(5)), (
        1, 7, 7), legacy  # fmt: skip
    yield "torch_norms_new", nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), ChannelsLast(4), nn.Flatten(), nn.Linear(64, 2)), (
        1, 6, 6), new  # fmt: skip
    yield "torch_upsampling", nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(4, 4, count_include_pad=False), nn.Flatten(), nn.Linear(48, 3)), (2, 8, 8), legacy  # fmt: skip
    yield "torch_table", nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), (6,), legacy  # fmt: skip


def make_torch(rng):
    import torch

    for number, (name, module, shape, options) in enumerate(torch_networks()):
        torch.manual_seed(number)
        with torch.no_grad():
            for key, value in module.state_dict().items():
                if value.dtype.is_floating_point:
                    changed = rough(value.numpy(), rng)
                    value.copy_(torch.from_numpy(np.abs(changed) + 0.1 if "running_var" in key else changed))
            module.eval()
            x = rng.standard_normal((BATCH, *shape)).astype(np.float32)
            y = module(torch.from_numpy(x)).numpy()
        path = FOLDER / f"{name}.onnx"
        if not options["dynamo"]:
            axes = {"dynamic_axes": {"input": {0: "n"}, "output": {0: "n"}}}
        else:
            axes = {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},), "external_data": False, "verbose": False}
        names = {"input_names": ["input"], "output_names": ["output"]}
        torch.onnx.export(module, (torch.from_numpy(x),), str(path), **options, **axes, **names)
        yield name, x, y


# -- Keras -----------------------------------------------------------------------------------------------


def keras_networks():
    import keras
    from keras import layers as kl

    def row(shape, *layers):
        return keras.Sequential([keras.Input(shape), *layers])

    def residual():
        x = start = keras.Input((8, 8, 3))
        x = kl.Conv2D(4, 3, padding="same", strides=2, use_bias=False)(x)
        x = before = kl.ReLU()(kl.BatchNormalization()(x))
        x = kl.DepthwiseConv2D(3, padding="same")(x)
        x = kl.BatchNormalization()(x)
        x = kl.Activation("swish")(kl.Add()([before, x]))
        return keras.Model(start, kl.Dense(3, activation="softmax")(kl.GlobalAveragePooling2D()(x)))

    yield "keras_residual", residual()
    yield "keras_images", row(
        (8, 8, 1), kl.Rescaling(1 / 2, -0.3), kl.Conv2D(4, 3, activation="relu"), kl.MaxPooling2D(2),
        kl.Conv2D(4, 3, padding="same"), kl.LeakyReLU(0.2), kl.Dropout(0.3), kl.Flatten(),
        kl.Dense(6, activation="elu"), kl.Dense(4, activation="softmax"))  # fmt: skip
    yield "keras_same", row(
        (9, 7, 2), kl.Conv2D(4, 4, padding="same", strides=2, activation="relu"),
        kl.MaxPooling2D(2, padding="same"), kl.Conv2D(4, (3, 2), padding="same", dilation_rate=2),
        kl.AveragePooling2D(2, 1, padding="same"), kl.Flatten(), kl.Dense(3))  # fmt: skip
    yield "keras_margins", row(
        (7, 6, 2), kl.ZeroPadding2D(((1, 0), (2, 1))), kl.Conv2D(3, 3, strides=2), kl.Activation("tanh"),
        kl.ZeroPadding2D(2), kl.Cropping2D(1), kl.Conv2DTranspose(3, 3, strides=2, padding="same"),
        kl.Flatten(), kl.Dense(1, activation="sigmoid"))  # fmt: skip
    yield "keras_separable", row(
        (8, 8, 3), kl.SeparableConv2D(6, 3, padding="same", depth_multiplier=2), kl.Activation("relu"),
        kl.BatchNormalization(), kl.Conv2D(4, 1), kl.Activation("selu"), kl.GlobalMaxPooling2D(),
        kl.Dense(3, activation="sigmoid"))  # fmt: skip
    yield "keras_dense", row(
        (5, 4), kl.Flatten(), kl.Dense(8, activation="softplus"), kl.BatchNormalization(), kl.Dense(2))  # fmt: skip


def make_keras(rng):
    for name, network in keras_networks():
        network.set_weights(
            [np.abs(rough(w, rng)) + 0.1 if w.ndim == 1 else rough(w, rng) for w in network.get_weights()]
        )
        x = rng.standard_normal((BATCH, *network.input_shape[1:])).astype(np.float32)
        y = network(x).numpy()
        network.export(FOLDER / f"{name}.onnx", format="onnx", verbose=False)
        yield name, x, y


# -- scikit-learn ----------------------------------------------------------------------------------------


def make_sklearn(rng):
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = (3 * rng.standard_normal((60, 5)) + 1).astype(np.float32)
    many, two = np.array(["cat", "dog", "owl"])[np.arange(60) % 3], np.arange(60) % 2
    scaled = make_pipeline(StandardScaler(), MLPClassifier((6, 4), max_iter=20, random_state=0))
    for name, network, y, options in (
        ("sklearn_classes", scaled, many, {}),
        ("sklearn_two", MLPClassifier((4,), "tanh", max_iter=20, random_state=0), two, {"zipmap": False}),
        ("sklearn_values", MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0), X[:, 0] / 3, None),
    ):
        network.fit(X, y)
        model = to_onnx(network, X[:1], options=None if options is None else {id(network): options})
        (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
        expected = network.predict(X[:BATCH]) if options is None else network.predict_proba(X[:BATCH])
        yield name, X[:BATCH], expected.astype(np.float32)


def main():
    warnings.simplefilter("ignore")
    FOLDER.mkdir(exist_ok=True)
    arrays = {}
    for make in (make_torch, make_keras, make_sklearn):
        for name, x, y in make(np.random.default_rng(0)):
            arrays |= {f"{name}.x": x, f"{name}.y": y}
            print(f"{name}: {(FOLDER / f'{name}.onnx').stat().st_size} bytes")
    np.savez_compressed(FOLDER / "expected.npz", **arrays)


if __name__ == "__main__":
    main()
