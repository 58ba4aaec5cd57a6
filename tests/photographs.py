"""Folders of pictures that tell their classes."""

import numpy as np

COLOURS = {"bird": (60, 200, 60), "cat": (200, 60, 60), "dog": (60, 60, 200)}
SHAPE = (16, 12, 3)


def draw(rng, name):
    """A picture in the colour of its class, with some noise."""
    return np.clip(rng.normal(COLOURS[name], 30, SHAPE), 0, 255).astype(np.uint8)


def write_photographs(folder, rng, classes=tuple(COLOURS), count=20, names=None):
    """A folder for each class; of what the classes are drawn like says `names`."""
    from PIL import Image

    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(draw(rng, (names or {}).get(name, name))).save(folder / name / f"{i:02}.png")
    return folder
