"""The report in a browser, as a person would use it: every click, by mouse and by keyboard, light, dark and small.

It needs Playwright, and Chromium or Chrome on the path (or at CNNX_CHROMIUM); without them it is skipped.
"""

import os
import shutil

import numpy as np
import pytest
from pages import HOSTILE, picture_model, pictures

import cnnx

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("PIL")
playwright = pytest.importorskip("playwright.sync_api")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = os.environ.get("CNNX_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

# Of two colours, as the Web Content Accessibility Guidelines define it; what is laid over what is worked out first.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (a, b) => [0, 1, 2].map((k) => a[k] * a[3] + b[k] * (1 - a[3]));
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (node) => { const own = rgba(getComputedStyle(node).backgroundColor);
    return own[3] >= 0.999 || !node.parentElement ? own.slice(0, 3) : over(own, ground(node.parentElement)); };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!text || !node.checkVisibility() || node.closest("script, .none")) continue;
    const style = getComputedStyle(node), behind = ground(node);
    const colour = node instanceof SVGElement ? style.fill : style.color;
    const [high, low] = [light(over(rgba(colour), behind)), light(behind)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.push([node.tagName, node.textContent.slice(0, 30), ratio.toFixed(2)]);
  }
  return poor;
}"""


CLICK_ALL = """() => [...document.querySelectorAll("button[data-cell]")].map((button) => {
  button.click();
  const dialog = document.getElementById("pictures"), was = dialog.open;
  const figures = dialog.querySelectorAll("figure").length;
  const sources = [...dialog.querySelectorAll("img")].map((image) => image.src);
  const said = document.getElementById("many").textContent;
  document.getElementById("close").click();
  return [button.dataset.cell, was, figures, sources, said, !dialog.open];
})"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    (X, y), (X_test, y_test) = cnnx.datasets.load_digits()
    model = cnnx.models.small(10)
    history = model.train(X, y, 0.1, batch_size=32, epochs=2, seed=0, validation_data=(X_test, y_test), verbose=False)
    cnnx.report(model, X_test, y_test, folder / "digits.html", history=history)
    hostile = picture_model(len(HOSTILE))
    hostile.class_names = HOSTILE
    X, y = pictures(150, classes=len(HOSTILE))
    names = [HOSTILE[index % len(HOSTILE)] for index in range(150)]
    about = {name: name for name in HOSTILE}
    cnnx.report(hostile, X, y, folder / "hostile.html", names=names, title=HOSTILE[0], about=about)
    many = picture_model(60)
    many.class_names = [f"class {label} {'W' * (label % 40)}" for label in range(60)]
    X, y = pictures(400, classes=60)
    cnnx.report(many, X, y, folder / "many.html", history={"loss": np.linspace(2, 1, 90)})
    return folder


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page that is open, with all that it asked for and all that it complained of."""

    def __init__(self, browser, path, **how):
        self.context = browser.new_context(**how)
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.address = path.as_uri()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if error[0] is None:
            assert self.complaints == []
            assert [url for url in self.requests if not url.startswith("data:")] == [self.address]
            assert self.page.evaluate("window.hacked") is None
        self.context.close()


@pytest.mark.parametrize("name", ["digits", "hostile", "many"])
def test_every_click_shows_what_it_should(browser, reports, name):
    with Visit(browser, reports / f"{name}.html") as visit:
        page = visit.page
        clicked = page.evaluate(CLICK_ALL)
        assert len(clicked) > 20
        cells, shown = (page.evaluate(f"data.gallery.{name}") for name in ("cells", "shown"))
        for key, was_open, figures, sources, said, closed in clicked:
            count, indices = cells[key]
            assert (was_open, figures, closed) == (True, len(indices), True)
            assert sources == [shown[index]["i"] for index in indices]
            assert f"{count:,} picture" in said
        first = page.locator("button[data-cell]").first
        first.click()
        loaded = "all => all.length > 0 && all.every((one) => one.complete && one.naturalWidth > 0)"
        assert page.locator("#shown img").evaluate_all(loaded)
        page.mouse.click(2, 2)  # beside the dialog
        assert not page.locator("#pictures").evaluate("node => node.open")


def test_the_keyboard_does_what_the_mouse_does(browser, reports):
    with Visit(browser, reports / "digits.html") as visit:
        page = visit.page
        first = page.locator("button[data-cell]").first
        for key in ("Enter", "Space"):
            first.focus()
            page.keyboard.press(key)
            assert page.locator("#pictures").evaluate("node => node.open")
            page.keyboard.press("Escape")
            assert not page.locator("#pictures").evaluate("node => node.open")
            assert first.evaluate("node => node === document.activeElement")
        reached, buttons = (
            set(),
            page.locator("button[data-cell]").evaluate_all("all => all.map((b) => b.dataset.cell)"),
        )
        page.evaluate("document.activeElement.blur()")
        for _ in range(len(buttons) + 30):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.dataset.cell ?? ''"))
        assert reached - {""} == set(buttons)


def test_a_heading_sorts_the_table_up_and_down(browser, reports):
    with Visit(browser, reports / "digits.html") as visit:
        heads = visit.page.locator("#classes th button.sort")
        for index in range(heads.count()):
            for direction in ("ascending", "descending"):
                heads.nth(index).click()
                head = visit.page.locator("#classes thead th").nth(index)
                assert head.get_attribute("aria-sort") == direction
                cells = visit.page.locator(f"#classes tbody tr > :nth-child({index + 1})")
                values = cells.evaluate_all("all => all.map((cell) => Number(cell.dataset.value ?? cell.textContent))")
                assert values == sorted(values, reverse=direction == "descending")
        assert visit.page.locator("#classes [aria-sort]").count() == 1


def test_links_lead_to_their_sections(browser, reports):
    with Visit(browser, reports / "digits.html") as visit:
        links = visit.page.locator("nav a")
        assert links.count() == 9
        for index in range(links.count()):
            links.nth(index).click()
            assert visit.page.evaluate("document.querySelector(location.hash) !== null")


@pytest.mark.parametrize("name", ["digits", "hostile", "many"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_page_scrolls_sideways(browser, reports, name, width):
    with Visit(browser, reports / f"{name}.html", viewport={"width": width, "height": 800}) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["digits", "many"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_both_schemes_and_in_print(browser, reports, name, scheme):
    with Visit(browser, reports / f"{name}.html", color_scheme=scheme) as visit:
        assert visit.page.evaluate(CONTRAST) == []
        colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(16, 19, 24)") == (scheme == "dark")
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate(CONTRAST) == []
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not visit.page.locator("nav").is_visible()


def test_the_policy_stops_scripts_and_requests_that_are_not_the_pages_own(browser, reports):
    visit = Visit(browser, reports / "digits.html")
    page = visit.page
    page.evaluate(
        "() => { const script = document.createElement('script'); script.textContent = 'window.hacked = 1';"
        "document.body.append(script); const image = new Image(); image.src = 'http://127.0.0.1:9/x.png';"
        "document.body.append(image); }"
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    assert sum("Content Security Policy" in complaint for complaint in visit.complaints) == 2
    visit.context.close()
