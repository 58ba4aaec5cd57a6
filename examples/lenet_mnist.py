"""LeNet-5 on MNIST, trained for two epochs.

    python examples/lenet_mnist.py FOLDER

FOLDER holds MNIST's (or Fashion-MNIST's) four IDX files, gzipped or not.
"""

import argparse

import cnnx

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

(X_train, y_train), (X_test, y_test) = cnnx.datasets.load_folder(arguments.folder)
model = cnnx.models.lenet()
history = model.train(
    X_train,
    y_train,
    arguments.learning_rate,
    batch_size=arguments.batch_size,
    epochs=arguments.epochs,
    seed=arguments.seed,
)
loss, accuracy = model.evaluate(X_test, y_test)
print(f"{sum(history['seconds']):.1f} s of training, test loss {loss:.4f}, test accuracy {accuracy:.4f}")
