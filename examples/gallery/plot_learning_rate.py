"""
Which learning rate?
====================

`Model.find_learning_rate` trains for a hundred steps while the rate rises, and puts everything back. Where the loss
falls fastest is a good rate for a schedule that rises to it and then falls.
"""

import matplotlib.pyplot as plt

import cnnx
from cnnx.optimizers import SGD
from cnnx.schedules import OneCycle

(X, y), (X_test, y_test) = cnnx.datasets.load_digits()
model = cnnx.models.small()
found = model.find_learning_rate(X, y, lowest=1e-4, highest=5, seed=0, optimizer=SGD(0.1, momentum=0.9))

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(found.rates, found.losses)
axes.axvline(found.suggestion, color="tab:orange", linestyle="--", label=f"suggested: {found.suggestion:.2g}")
axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
axes.legend()

# %%
# A cycle with that rate, beside the rate alone.

for name, rate in (("constant", found.suggestion), ("one cycle", OneCycle(found.suggestion, epochs=12))):
    model = cnnx.models.small()
    history = model.train(X, y, optimizer=SGD(rate, momentum=0.9), epochs=12, seed=0, verbose=False)
    print(f"{name}: test accuracy {model.evaluate(X_test, y_test)[1]:.2%}")
plt.show()
