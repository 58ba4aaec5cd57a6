"""Models and reports that the tests share, and a reader of the page that trusts nothing."""

import json
import re
from html.parser import HTMLParser

import numpy as np

import cnnx

VOID = {"meta", "link", "img", "br", "input"}
HOSTILE = [
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "\u202eright to left\u202c \u05d0\u05d1",
    "quote ' and \" and \\ and `",
    "\u732b \U0001f600",
    "$\\frac{broken$ ^_",
    "nul \x00, \x1b[31m, \u2028, half \udc80",
    "&amp;&lt;" * 110,
    "M" * 1000,
    "M" * 999 + "N",
]


class Page(HTMLParser):
    """Elements with their attributes, text, and whether each that is opened is closed in order."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.bytes = path.read_bytes()
        self.source = self.bytes.decode("utf-8")
        self.elements, self.texts, self.open, self.scripts = [], [], [], []
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.data = json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "data"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append((dict(attributes), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open[-1:] == ["script"]:
            self.scripts[-1] = self.scripts[-1][0], self.scripts[-1][1] + text
        elif self.open[-1:] != ["style"]:
            self.texts.append(text)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def keys(self):
        """The cells that can be clicked."""
        return [each["data-cell"] for each in self.attributes("button") if "data-cell" in each]


def assert_fetches_nothing(page):
    """No address in any attribute or style, and a policy that forbids all."""
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
                assert value.startswith(("data:", "#")), (tag, name, value)
            assert not name.startswith("on"), (tag, name)
            for address in re.findall(r"url\(([^)]*)\)", value or ""):
                assert address.startswith("#"), (tag, name, value)
    styles = re.findall(r"<style[^>]*>(.*?)</style>", page.source, re.DOTALL)
    assert styles
    assert not any("url(" in style or "@import" in style for style in styles)
    assert [tag for tag, _ in page.elements if tag in ("iframe", "object", "embed", "base", "form", "a:href")] == []
    policy = page.attributes("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-"
    )


def picture_model(classes=3, channels=1, side=8, seed=0):
    """Not trained: it says something, and that is enough."""
    model = cnnx.Model(
        cnnx.ConvolutionLayer(filters=4, filter_size=3, padding=1), cnnx.ReluLayer(), cnnx.PoolLayer(filter_size=2),
        cnnx.Flatten(), cnnx.DenseLayer(units=classes), cnnx.SoftmaxLayer())  # fmt: skip
    model.build((side, side, channels), seed=seed)
    model.parameters *= 3
    return model


def pictures(count, side=8, channels=1, classes=3, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((count, side, side, channels), np.float32), rng.integers(0, classes, count)
