"""Train on Fashion-MNIST, write a report, and take the picture of it that the documentation shows.

    python examples/report_picture.py FOLDER docs/report.png

FOLDER holds Fashion-MNIST's four IDX files. It needs the extra `report`, Playwright (`pip install playwright`) and
Chromium or Chrome on the path. The report itself stays beside the picture as report.html, where --keep is given.
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import cnnx
from cnnx.optimizers import AdamW
from cnnx.schedules import OneCycle

NAMES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EPOCHS = 3

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder")
parser.add_argument("picture")
parser.add_argument("--keep", action="store_true")
arguments = parser.parse_args()

(X, y), (X_test, y_test) = cnnx.datasets.load_folder(arguments.folder)
model = cnnx.models.mnistnet()
model.build(X.shape[1:], seed=0)
model.class_names = NAMES
history = model.train(
    X[:20_000],
    y[:20_000],
    optimizer=AdamW(OneCycle(3e-3, epochs=EPOCHS)),
    epochs=EPOCHS,
    seed=0,
    validation_data=(X_test, y_test),
)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "report.html"
    cnnx.report(model, X_test, y_test, path, history=history, title="Fashion-MNIST, 20,000 pictures to learn from")
    if arguments.keep:
        shutil.copy(path, Path(arguments.picture).with_suffix(".html"))
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, BROWSERS)))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 1560})
        page.goto(path.as_uri())
        screenshot = page.screenshot()
        browser.close()
# As many colours are enough for it.
colours = Image.open(io.BytesIO(screenshot)).convert("RGB").quantize(256, kmeans=4)
colours.save(arguments.picture, optimize=True)
