"""The README's picture: the digits network as a table of layers, and its training curve.

python examples/digits_picture.py OUTPUT.png
"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import matplotlib.ticker

import cnnx

(X_train, y_train), (X_test, y_test) = cnnx.datasets.load_digits()
model = cnnx.models.small()
history = model.train(
    X_train, y_train, 0.1, batch_size=8, epochs=20, seed=0, validation_data=(X_test, y_test), verbose=False
)
accuracy = model.evaluate(X_test, y_test)[1]

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), gridspec_kw={"width_ratios": [1.25, 1]})
left.axis("off")
rows = [
    (
        type(layer).__name__,
        str(layer.input_shape),
        str(layer.output_shape),
        f"{sum(p.size for p in layer.params.values()):,}",
    )
    for layer in model.layers
]
table = left.table(
    rows, colLabels=["Layer", "Input shape", "Output shape", "Parameters"], loc="center", cellLoc="left",
    colWidths=[0.34, 0.24, 0.24, 0.18],
)  # fmt: skip
table.auto_set_font_size(False)
table.set_fontsize(9)
table.scale(1, 1.35)
for (row, _), cell in table.get_celld().items():
    cell.set_linewidth(0)
    cell.set_facecolor("#dfe7f2" if row == 0 else "#f6f8fb" if row % 2 else "white")
left.set_title(f"{model.parameter_count:,} parameters, one example's shapes", fontsize=10)

epochs = range(1, len(history["accuracy"]) + 1)
right.plot(epochs, history["accuracy"], label="training", color="#8fa8c8")
right.plot(epochs, history["validation_accuracy"], label="test", color="#1f4e8c")
right.set(xlabel="epoch", ylabel="accuracy", ylim=(0.8, 1.003), xlim=(1, len(history["accuracy"])))
right.set_title(f"8x8 digits: test accuracy {accuracy:.2%} after {sum(history['seconds']):.1f} s", fontsize=10)
right.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
right.grid(alpha=0.3)
right.legend(loc="lower right")
figure.tight_layout()
figure.savefig(sys.argv[1], dpi=110)
