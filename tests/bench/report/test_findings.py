import io
import json

import pytest
from rich.console import Console

from bench.findings.claims import Claim, Finding, judge_findings
from bench.findings.evidence import Evidence, SeedEvidence
from bench.report.findings import claim_text, closing_line, findings_cells, findings_json, note_lines, print_findings, render_findings
from gptcore.answers import Count

BETTER = Finding(1, "two is better | <much>", (Claim(2, 1, "higher", 3.33), Claim(2, 1, "lower", 0.5, limit=1.0, metric="duration")))
UNKNOWN = Finding(2, "three is equal", (Claim(3, 1, "about equal", 0.0, limit=1.0),))


def row_of(*counts, durations=(60.0,), flaws=()):
    return Evidence("d", {seed: SeedEvidence({"test": Count(right, 300)}) for seed, right in enumerate(counts)}, "m", durations, flaws=flaws)


@pytest.fixture
def judged():
    return judge_findings({1: row_of(280, 281, 280), 2: row_of(290, 291, 290, durations=(30.0,), flaws=("row 2: odd [figures]",))}, (BETTER, UNKNOWN))


def test_a_finding_has_a_line_for_every_claim(judged):
    header, rows = findings_cells(judged)
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["finding"] for row in cells] == ["1", "", "2"]
    assert [row["rows"] for row in cells] == ["2 v 1", "2 v 1", "3 v 1"]
    assert [row["verdict"] for row in cells] == ["inconclusive", "", "not judged"]
    assert [row["this part"] for row in cells] == ["supported", "inconclusive", "not judged"]
    assert cells[0]["claimed"] == "higher, +3.33"
    assert cells[0]["found [95 % interval]"].startswith("+3.33 [+3.0")
    assert (cells[0]["seeds"], cells[0]["note"]) == ("3", "claimed size inside the interval")
    assert (cells[1]["found [95 % interval]"], cells[1]["seeds"], cells[1]["note"]) == ("0.50 x", "-", "timed once")
    assert (cells[2]["found [95 % interval]"], cells[2]["note"]) == ("-", "no figures of row 3")


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (Claim(4, 1, "higher", 3.33), "higher, +3.33"),
        (Claim(5, 4, "not higher", -1.67, limit=1.0), "not higher (margin 1), -1.67"),
        (Claim(10, 1, "lower", -1.33, stated=(-3.0, -1.0)), "lower, -1.33 (stated: -3 to -1)"),
        (Claim(18, 1, "identical", 0.0), "identical, +0.00"),
        (Claim(5, 1, "higher", 2.46, limit=2.0, metric="duration"), "time over 2 x, 2.46 x"),
    ],
)
def test_claims_in_words(claim, text):
    assert claim_text(claim) == text


def test_the_notes_tell_how_the_intervals_came_about_and_what_is_flawed(judged):
    lines = note_lines(judged)
    assert [line.split(":")[0] for line in lines] == ["several seeds", "one timing", "finding 1 rests on a flawed row"]
    assert not note_lines(judge_findings({}))


def test_many_intervals_are_warned_of():
    rows = {number: row_of(280 + number) for number in range(1, 20)}
    assert "12 findings with 19 intervals of 95 % are looked at together, without correction" in "\n".join(note_lines(judge_findings(rows)))


def test_the_closing_line_counts(judged):
    assert closing_line(judged) == "0 supported, 0 not supported, 1 inconclusive, 1 not judged"


def test_the_terminal_shows_it_all(judged):
    console = Console(file=io.StringIO(), width=200)
    print_findings(console, "findings of [this]", judged)
    printed = console.file.getvalue()
    for words in ("findings of [this]", "two is better | <much>", "odd [figures]", "several seeds: the interval", "1 inconclusive, 1 not judged"):
        assert words in printed


def test_markdown_is_well_formed_and_escaped(judged):
    text = render_findings("findings of <this>", judged)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {line.replace("\\|", "").count("|") for line in table} == {10}
    assert text.startswith("**findings of &lt;this>: 0 supported")
    assert "- finding 1 rests on a flawed row: row 2: odd" in text


def test_json_holds_the_same(judged):
    told = json.loads(json.dumps(findings_json(judged), allow_nan=False))
    better, unknown = told["findings"]
    gain, time = better["claims"]
    assert (better["verdict"], gain["verdict"], gain["n"], gain["basis"]) == ("inconclusive", "supported", 3, "several seeds")
    assert gain["interval"][0] < gain["difference"] < gain["interval"][1]
    assert (time["difference"], time["interval"], time["unit"]) == (pytest.approx(0.5), None, "times the other row's")
    assert unknown["claims"][0]["notes"] == ["no figures of row 3"]
    assert told["verdicts"] == {"supported": 0, "not supported": 0, "inconclusive": 1, "not judged": 1}
