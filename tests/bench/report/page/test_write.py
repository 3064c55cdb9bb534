"""The pages as files: sound HTML, everything escaped, nothing from elsewhere."""

from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from bench.history import read_history
from bench.report.history import METHOD
from bench.report.page.write import sections_of, write_history
from bench.results import ResultsError, create_folder, write_row

SHOWN = {"\x1b": "\\x1b", "\u202e": "\\u202e"}  # what acts on a terminal or turns a line around, as escapes
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A page as its tags, in order, with what stands open at each; and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += "" if "style" in self.open else data

    def all(self, tag):
        return [attributes for name, attributes, _ in self.tags if name == tag]


def shown_as(text):
    return text.translate(str.maketrans(SHOWN))


@pytest.fixture
def pages(good, bad, page_of_run, base_of, figures):
    """A good run's page, and a bad one's against another run."""
    return [Page(page_of_run(run, **settings).read_text()) for run, settings in ((good, {}), (bad, {"base": base_of(bad, figures)}))]


# Sound


def test_tags_are_closed_and_ids_are_unique(pages):
    for page in pages:
        assert page.open == []
        ids = Counter(attributes["id"] for _, attributes, _ in page.tags if "id" in attributes)
        assert {name for name, count in ids.items() if count > 1} == set()


def test_every_reference_leads_somewhere(pages):
    for page in pages:
        ids = {attributes["id"] for _, attributes, _ in page.tags if "id" in attributes}
        links = {attributes["href"][1:] for tag, attributes, _ in page.tags if tag in ("a", "use") and "href" in attributes}
        labels = {name for _, attributes, _ in page.tags for name in attributes.get("aria-labelledby", "").split()}
        assert links | labels <= ids
        assert "content" in links


def test_headings_step_down_one_at_a_time_from_one_first(pages):
    for page in pages:
        levels = [int(tag[1]) for tag, _, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_have_captions_and_headers_with_a_scope(pages):
    for page in pages:
        assert page.all("table")
        assert len(page.all("caption")) == len(page.all("table"))
        assert {attributes.get("scope") for attributes in page.all("th")} == {"col", "row"}


def test_every_plot_is_an_image_with_a_name_and_a_description(pages):
    for page in pages:
        drawn = page.all("svg")
        assert drawn
        assert all(attributes["role"] == "img" and len(attributes["aria-labelledby"].split()) == 2 for attributes in drawn)
        assert sum(tag == "desc" for tag, _, _ in page.tags) == len(drawn)
        assert not any("style" in path[1:] for tag, _, path in page.tags if tag == "svg")


def test_a_page_says_what_language_it_is_in_and_fits_a_phone(pages):
    for page in pages:
        assert page.all("html") == [{"lang": "en"}]
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_sections_come_in_order_and_the_verdict_first(pages, good, bad, page_context, base_of, figures):
    contexts = (page_context(good), page_context(bad, base=base_of(bad, figures)))
    for page, context in zip(pages, contexts, strict=True):
        of_page = [attributes["id"] for tag, attributes, _ in page.tags if tag == "h2"]
        assert of_page == [name for name, _ in sections_of(context)]
    assert of_page[:3] == ["failing", "rows", "against"]


# Safe


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(pages):
    for page in pages:
        assert not {tag for tag, _, _ in page.tags} & {"script", "img", "iframe", "object", "embed", "form", "base", "audio", "video", "image"}
        assert page.all("link") == [{"rel": "icon", "href": "data:,"}]
        assert all(attributes["href"].startswith("#") for tag, attributes, _ in page.tags if tag in ("a", "use") and "href" in attributes)
        assert not any(name.startswith("on") for _, attributes, _ in page.tags for name in attributes)
        (policy,) = (attributes["content"] for attributes in page.all("meta") if attributes.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'")


def test_styles_load_nothing(bad, page_of_run):
    html = page_of_run(bad).read_text()
    assert "url(" not in html.replace("url(#", "")
    assert "@import" not in html


def test_what_strangers_wrote_is_text_as_it_is(pages, hostile):
    page = pages[1]
    shown = shown_as(hostile)
    assert page.text.count(shown) > 30  # the error, its first line and all of it, and 30 messages
    assert f"Traceback {shown}" in page.text
    assert not set(SHOWN) & set(page.text)
    assert "49" not in page.text[page.text.index("alert") : page.text.index("alert") + 60]  # no template runs twice


# Files


def test_plots_are_saved_as_svg_and_png(good, page_of_run, tmp_path):
    page_of_run(good, plots_folder=tmp_path / "plots")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {f"{name}.{kind}" for name in ("accuracy", "durations", "losses-01", "findings") for kind in ("svg", "png")} - {
        "findings.svg",
        "findings.png",
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "plots").glob("*.png"))
    svg = (tmp_path / "plots" / "accuracy.svg").read_text()
    assert "var(--" not in svg
    assert "#0067a5" in svg


def test_a_page_is_the_same_each_time(bad, page_of_run):
    first = page_of_run(bad).read_bytes()
    assert page_of_run(bad).read_bytes() == first


def test_a_page_that_cannot_be_written_is_one_sentence(good, page_of_run, tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(ResultsError, match=r"page.html cannot be written .*: name another file with --out"):
        page_of_run(good)


def test_plots_that_cannot_be_written_are_named_by_their_own_option(good, page_of_run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match=r"file.* cannot be written .*: name another folder with --plots"):
        page_of_run(good, plots_folder=tmp_path / "file")


def test_a_run_without_any_row_has_a_page(run, page_of_run):
    page = Page(page_of_run(run({1: None, 2: None}, invariants=None)).read_text())
    assert "The run broke off: rows 1-2 missing" in page.text
    assert "No row finished." in page.text
    assert page.text.index("run --resume") < page.text.index("--rows 1")
    assert page.all("svg") == []


def test_rows_that_are_not_drawn_are_named(bad, page_of_run):
    assert Page(page_of_run(bad).read_text()).text.count("Rows 2-3: no figures.") == 2


def test_findings_that_nothing_is_said_of_are_folded(good, page_of_run):
    page = Page(page_of_run(good).read_text())
    (path,) = (path for tag, attributes, path in page.tags if tag == "caption" and attributes["id"].startswith("untold"))
    assert "details" in path


@pytest.mark.parametrize("settings", [{"timing_only": True}, {"plain": True}, {"chosen": ("data",)}])
def test_every_kind_of_run_has_a_page(run, page_of_run, row_result, settings):
    assert Page(page_of_run(run({1: row_result()}, **settings)).read_text()).open == []


# A history


@pytest.fixture
def history_page(tmp_path, run_info, row_result, figures, expectations, hostile):
    for index in range(8):
        folder = tmp_path / "runs" / f"run-{index}"
        create_folder(folder, run_info(device_name=hostile))
        write_row(folder, row_result(name=hostile, figures=figures(right=(1005, 148, 285 - 40 * (index > 3)), seconds=16 + index % 2)))
    (tmp_path / "runs" / "<b>bad").mkdir()
    (tmp_path / "runs" / "<b>bad" / "run.json").write_text("{")
    write_history(read_history(tmp_path / "runs", expectations), hostile, tmp_path / "history.html", plots_folder=tmp_path / "plots")
    return Page((tmp_path / "history.html").read_text())


def test_a_history_is_a_sound_page_too(history_page, hostile, tmp_path):
    assert history_page.open == []
    assert f"{METHOD[0].upper()}{METHOD[1:]}." in history_page.text
    assert [tag for tag, _, _ in history_page.tags if tag in ("h1", "h2", "h3")] == ["h1", "h2", "h2", "h3"]
    assert len({attributes["id"] for _, attributes, _ in history_page.tags if "id" in attributes}) == sum("id" in one for _, one, _ in history_page.tags)
    assert shown_as(hostile) in history_page.text
    assert not history_page.all("script")
    assert len(history_page.all("svg")) == 1
    assert {path.suffix for path in (tmp_path / "plots").iterdir()} == {".svg", ".png"}
