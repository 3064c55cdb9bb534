"""The pages in a real browser: what is there, what fits, what is asked of the network, and what accessibility checkers say."""

from types import SimpleNamespace

import pytest

from bench.history import read_history
from bench.report.page.write import write_history
from bench.results import create_folder, write_row

pytestmark = pytest.mark.slow

PHONE, DESK = 390, 1280
LOOKS = [(width, scheme) for width in (PHONE, DESK) for scheme in ("light", "dark")]
WIDER_THAN_THE_PAGE = """
    [...document.querySelectorAll('body *')]
        .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .filter(element => !element.closest('.scroll, .plot, pre, .skip, svg'))
        .map(element => element.outerHTML.slice(0, 80))
"""


@pytest.fixture
def opened(browser):
    """Opens a page; returns it with what its console said and what it asked for."""
    contexts = []

    def look(path, width=DESK, scheme="light", **settings):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True, **settings)
        contexts.append(context)
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.resolve().as_uri())
        return SimpleNamespace(page=page, said=said, asked=asked)

    yield look
    for context in contexts:
        context.close()


@pytest.fixture
def written(tmp_path, bad, page_of_run, base_of, figures, run_info, row_result, expectations):
    """The page of a bad run against another one, and that of a history with a change."""
    report = page_of_run(bad, base=base_of(bad, figures))
    for index in range(8):
        folder = tmp_path / "runs" / f"run-{index}"
        create_folder(folder, run_info())
        write_row(folder, row_result(figures=figures(right=(1005, 148, 285 - 40 * (index > 3)), seconds=16 + index % 2)))
    write_history(read_history(tmp_path / "runs", expectations), "runs", tmp_path / "history.html")
    return {"report": report, "history": tmp_path / "history.html"}


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("name", ["report", "history"])
def test_a_page_is_quiet_alone_and_no_wider_than_the_screen(opened, written, name, width, scheme):
    seen = opened(written[name], width, scheme)
    assert seen.said == []
    assert seen.asked == [written[name].resolve().as_uri()]
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.page.evaluate(WIDER_THAN_THE_PAGE) == []


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("name", ["report", "history"])
def test_the_accessibility_checker_finds_nothing(opened, written, name, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed: install the extra `test`")
    seen = opened(written[name], width, scheme, bypass_csp=True)  # the checker's own scripts
    seen.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    found = axe.Axe().run(seen.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
    assert not found.violations_count, found.generate_report()


def test_the_report_shows_every_section(opened, written):
    page = opened(written["report"]).page
    headings = page.locator("h2").all_inner_texts()
    assert headings == [
        "Rows that do not hold",
        "The table",
        "Against another run",
        "Accuracy",
        "Durations",
        "Losses",
        "Findings",
        "Flipped messages",
        "Invariants",
        "Environment",
        "Commands",
    ]
    assert page.locator("h1").inner_text() == "4 of 4 rows do not hold"
    assert page.locator("svg").count() >= 4
    assert all(box["width"] > 200 and box["height"] > 50 for box in (svg.bounding_box() for svg in page.locator("svg").all()))


def test_colours_follow_the_reader(opened, written):
    grounds, inks = [], []
    for scheme in ("light", "dark"):
        page = opened(written["report"], DESK, scheme).page
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        inks.append(page.evaluate("getComputedStyle(document.querySelector('svg text')).fill"))
    assert grounds[0] == "rgb(255, 255, 255)"
    assert len(set(grounds)) == len(set(inks)) == 2


def test_the_keyboard_reaches_the_content_first(opened, written):
    page = opened(written["report"]).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_wide_tables_scroll_by_themselves_and_by_the_keyboard(opened, written):
    page = opened(written["report"], PHONE, bypass_csp=True).page
    box = page.locator("#rows ~ .scroll").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
