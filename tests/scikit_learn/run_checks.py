"""scikit-learn's own checks of an estimator, in a process of their own: python run_checks.py NAME.

Its checks with array-API dispatch run only where SCIPY_ARRAY_API was set before SciPy was imported. It prints how many
passed, and each that did not.
"""

import sys
from collections import Counter

from pictures import PictureClassifier, PictureRegressor
from sklearn.utils.estimator_checks import check_estimator

from cnnx.sklearn import CNNClassifier, CNNRegressor

ESTIMATORS = {
    "classifier": CNNClassifier(),
    "balanced": CNNClassifier(class_weight="balanced"),
    "regressor": CNNRegressor(),
    "picture_classifier": PictureClassifier(dtype="float64"),
    "picture_balanced": PictureClassifier(dtype="float64", class_weight="balanced"),
    "picture_regressor": PictureRegressor(dtype="float64"),
}

if __name__ == "__main__":
    results = check_estimator(ESTIMATORS[sys.argv[1]], on_fail=None, on_skip=None)
    for result in results:
        if result["status"] != "passed":
            print(result["check_name"], result["status"], repr(result["exception"]))
    print(dict(Counter(result["status"] for result in results)))
