"""
Handwritten digits, from pictures to mistakes
=============================================

A small network learns the digits that come with the package. Most of it is right after a second or two; the pictures
show where it still errs.
"""

import matplotlib.pyplot as plt
import numpy as np

import cnnx

(X, y), (X_test, y_test) = cnnx.datasets.load_digits()
model = cnnx.models.small()
history = model.train(X, y, 0.1, batch_size=8, epochs=12, seed=0, validation_data=(X_test, y_test), verbose=False)
loss, accuracy = model.evaluate(X_test, y_test)
print(f"test accuracy {accuracy:.2%}")

# %%
# The loss falls on the training pictures and on those that it has never seen.

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(history["loss"], label="training")
axes.plot(history["validation_loss"], label="validation")
axes.set(xlabel="epoch", ylabel="loss", yscale="log")
axes.legend()

# %%
# What it takes for something else, the surest mistakes first.

probabilities = model.predict_proba(X_test)
predicted = probabilities.argmax(axis=1)
wrong = np.flatnonzero(predicted != y_test)
wrong = wrong[np.argsort(-probabilities[wrong].max(axis=1))][:6]

figure, panels = plt.subplots(1, 6, figsize=(9, 2), layout="constrained")
for panel in panels:
    panel.axis("off")
for panel, index in zip(panels, wrong, strict=False):
    panel.imshow(X_test[index, :, :, 0], cmap="gray_r")
    panel.set_title(f"{y_test[index]}, said {predicted[index]}\n{probabilities[index].max():.0%}", fontsize=9)
plt.show()
