"""The accuracy of cnnx.sklearn.CNNClassifier beside scikit-learn's SVC and MLPClassifier, all with their defaults.

    python -m benchmarks.estimators --data digits sklearn-digits mnist:1000 mnist:5000 fashion-mnist:5000

`digits` are those of the package, `sklearn-digits` those of scikit-learn, of which each seed holds a fifth out; all
else is a folder of IDX files, of whose training images each seed draws so many, and whose test images are tested on.
CNNClassifier gets the images as they are. The others get rows of numbers from 0 to 1, which is kinder to them than
bytes. The seconds are the processor's, of all threads together, so that they do not depend on what else it has to do;
with --threads 1 they are those of the clock on a machine that has nothing else to do.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import cnnx
from cnnx.sklearn import CNNClassifier

Split = tuple[np.ndarray, np.ndarray]

CONTESTANTS: dict[str, Callable[[int], Any]] = {
    "CNNClassifier()": lambda seed: CNNClassifier(random_state=seed),
    "SVC()": lambda seed: SVC(),
    "MLPClassifier()": lambda seed: MLPClassifier(random_state=seed),
}


def load(name: str, seed: int) -> tuple[Split, Split]:
    if name == "digits":
        return cnnx.datasets.load_digits()
    if name == "sklearn-digits":
        X, y = load_digits(return_X_y=True)
        parts = train_test_split(X.reshape(-1, 8, 8), y, test_size=0.2, stratify=y, random_state=seed)
        return (parts[0], parts[2]), (parts[1], parts[3])
    folder, _, examples = name.rpartition(":")
    (X, y), test = cnnx.datasets.load_folder(folder)
    rows = np.random.default_rng(seed).permutation(len(X))[: int(examples)]
    return (X[rows], y[rows]), test


def as_rows(X: np.ndarray) -> np.ndarray:
    return X.reshape(len(X), -1) / X.max()


def measure(make: Callable[[int], Any], train: Split, test: Split, seed: int) -> tuple[float, float]:
    """Test accuracy in per cent, and the seconds of training."""
    estimator = make(seed)
    convert = np.asarray if isinstance(estimator, CNNClassifier) else as_rows
    X = convert(train[0])
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the default number of iterations is what is compared
        estimator.fit(X, train[1])
    seconds = time.process_time() - started
    return 100 * estimator.score(convert(test[0]), test[1]), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", metavar="NAME|FOLDER:EXAMPLES", default=["digits", "sklearn-digits"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cnnx.get_num_threads())
    parser.add_argument("--only", choices=CONTESTANTS)
    arguments = parser.parse_args()
    cnnx.set_num_threads(arguments.threads)
    print("| data | estimator | accuracy of each seed | mean | seconds |\n|---|---|---|---|---|")
    for name in arguments.data:
        for contestant in [arguments.only] if arguments.only else CONTESTANTS:
            figures = [measure(CONTESTANTS[contestant], *load(name, seed), seed) for seed in range(arguments.seeds)]
            accuracies, seconds = np.array(figures).T
            each = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
            row = f"| {name.rpartition('/')[-1]} | `{contestant}` | {each} | {accuracies.mean():.2f} % |"
            print(f"{row} {seconds.mean():.1f} s |", flush=True)


if __name__ == "__main__":
    main()
