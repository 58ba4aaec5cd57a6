"""
Augmentation, seen
==================

Each batch is changed at random on its way to the network, so that it never sees the same picture twice. What is worth
changing is a question of what a picture may be without becoming another: a digit may lean, but not be mirrored. A look
at what comes out answers it better than a table.
"""

import matplotlib.pyplot as plt
import numpy as np

import cnnx
from cnnx.augmentation import Augmentation, Contrast, CutOut, MixUp, Noise, Rotate, Scale, Shift

(X, y), _ = cnnx.datasets.load_digits()
rng = np.random.default_rng(0)
rows: dict[str, list[Augmentation]] = {
    "Rotate(20)": [Rotate(20)],
    "Scale(0.7, 1.3)": [Scale(0.7, 1.3)],
    "Shift(2)": [Shift(2)],
    "Contrast(0.8)": [Contrast(0.8)],
    "Noise(0.15)": [Noise(0.15)],
    "CutOut(3)": [CutOut(3)],
    "MixUp(0.4)": [MixUp(0.4, classes=10)],
    "Rotate, Scale, Noise": [Rotate(20), Scale(0.7, 1.3), Noise(0.1)],
}

figure, panels = plt.subplots(len(rows), 9, figsize=(8, 7.5), layout="constrained")
for line, (name, augmentations) in zip(panels, rows.items(), strict=True):
    changed, labels = X[:8].copy(), y[:8]
    for augmentation in augmentations:
        changed, labels = augmentation(changed, labels, rng)
    line[0].text(1, 0.5, name, ha="right", va="center", transform=line[0].transAxes, fontsize=9)
    for panel, picture in zip(line[1:], changed, strict=True):
        panel.imshow(picture[:, :, 0], cmap="gray_r", vmin=0, vmax=1)
    for panel in line:
        panel.axis("off")

# %%
# `Model.train` takes the same list. The worker thread that changes the next batch is done before it is needed.

model = cnnx.models.small()
augment = rows["Rotate, Scale, Noise"]
history = model.train(X, y, optimizer="adam", epochs=5, seed=0, augment=augment, verbose=False)
print(f"training accuracy, on changed pictures: {history['accuracy'][-1]:.1%}")
plt.show()
