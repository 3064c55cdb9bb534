"""The pages in a real browser: what is there, what fits, what is asked of the network, and what accessibility checkers say."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.history import read_history
from bench.report.page.write import write_history
from bench.report.table import verdict_text
from bench.results import create_folder, write_row
from bench.rows import ROWS
from bench.verdicts.verdict import Judgement, Power, Verdict

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
    assert all(box["width"] > 200 and box["height"] > 50 for box in (svg.bounding_box() for svg in page.locator("svg:visible").all()))


@pytest.fixture
def wordy(run, row_result, figures, page_of_run):
    """The page of a run whose row has the longest name and the longest verdict, with figures of many digits."""
    made = run({1: row_result(figures=figures(train_loss=0.631693997, seconds=99.0))})
    (verdict,) = made.verdicts
    memory = Judgement("peak_memory", Verdict.REGRESSED, "baseline", 95e6, 66.7e6, 0.0, 80e6, "spread of 5 measurements", advisory=True)
    epochs = Judgement("train_accuracy_of_epochs", Verdict.DRIFTED, "baseline", 0.425, 0.325, 0.3, 0.35, "rounding in 16 repeats after epoch 1")
    loss = Judgement("train_loss", Verdict.DRIFTED, "baseline", 0.619307841, 0.631693997, 0.631692527, 0.631695467, "rounding in 16 repeats at step 60")
    judgements = (*(one for one in verdict.judgements if one.metric != "train_loss"), memory, epochs, loss)
    made.verdicts = [replace(verdict, name=max((row.name for row in ROWS), key=len), judgements=judgements, power=Power(0.113, 0.911))]
    assert verdict_text(made.verdicts[0]) == "drifted, slower, more memory"
    return page_of_run(made)


def test_the_table_fits_a_desk_with_the_longest_verdict(opened, wordy):
    page = opened(wordy).page
    assert page.locator("#rows ~ .scroll td .tone").first.inner_text() == "drifted, slower, more memory"
    for box in page.locator("main > section > .scroll, .card .scroll").all():
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0, box.locator("caption").inner_text()


def test_what_moved_is_in_sight_on_a_phone(opened, wordy):
    page = opened(wordy, PHONE).page
    box = page.locator(".card .scroll").first
    right = box.evaluate("box => box.getBoundingClientRect().right")
    for name in ("from", "to", "allowed"):
        heading = box.locator("thead th", has_text=re.compile(f"^{name}$"))
        assert heading.evaluate("cell => cell.getBoundingClientRect().right") <= right, name


def test_what_a_finding_says_is_not_cut_on_a_phone(opened, written):
    page = opened(written["report"], PHONE).page
    box = page.locator("#findings ~ .scroll")
    right = box.evaluate("box => box.getBoundingClientRect().right")
    assert box.locator("thead th").nth(1).inner_text() == "what it says"
    assert box.locator("thead th").nth(1).evaluate("cell => cell.getBoundingClientRect().right") <= right


SMALLEST_TEXT = """
    () => Math.min(...[...document.querySelectorAll('svg')].filter(svg => svg.checkVisibility()).map(svg => {
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        return scale * Math.min(...[...svg.querySelectorAll('text')].map(text => parseFloat(getComputedStyle(text).fontSize)));
    }))
"""


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", ["report", "history"])
def test_texts_of_plots_can_be_read(opened, written, name, width):
    page = opened(written[name], width).page
    assert page.evaluate(SMALLEST_TEXT) >= 11.4  # commits under an axis; all else 12.5
    assert page.evaluate("[...document.querySelectorAll('.plot')].filter(box => box.scrollWidth > box.clientWidth).length") == 0
    assert page.locator("[aria-label='Test accuracy of each row']:visible").count() == (name == "report")


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
