"""A network among scikit-learn's tools: digits, searched over, calibrated, and those it is least sure of.

    python examples/scikit_learn_digits.py

It needs the extra: python -m pip install "cnnx[sklearn]"
"""

import argparse

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.metrics import classification_report
from sklearn.model_selection import GridSearchCV, train_test_split

from cnnx.sklearn import CNNClassifier

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--epochs", default="auto", type=lambda text: text if text == "auto" else int(text))
parser.add_argument("--jobs", type=int, default=1, help="processes that search")
arguments = parser.parse_args()

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.2, stratify=digits.target, random_state=0
)

# The images are (examples, 8, 8): there is nothing to reshape or to scale.
classifier = CNNClassifier(epochs=arguments.epochs, random_state=0)
search = GridSearchCV(classifier, {"model": ["auto", "small"]}, cv=2, n_jobs=arguments.jobs)
search.fit(X_train, y_train)
print(f"best of the search: {search.best_params_['model']}, {search.best_score_:.2%} of what it had not seen")

calibrated = CalibratedClassifierCV(search.best_estimator_, cv=3).fit(X_train, y_train)
print(classification_report(y_test, calibrated.predict(X_test), digits=3, zero_division=0))

probabilities = calibrated.predict_proba(X_test)
doubtful = np.argsort(probabilities.max(axis=1))[:3]
for index in doubtful:
    shades = np.array(list(" .:-=+*#%@"))[(X_test[index] * 9 / 16).astype(int)]
    print(f"\n{y_test[index]}, taken for {probabilities[index].argmax()} ({probabilities[index].max():.0%}):")
    print("\n".join("".join(row) for row in shades.repeat(2, axis=1)))
