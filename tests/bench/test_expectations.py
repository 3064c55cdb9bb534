import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.expectations import (
    DEFAULT_PATH,
    ExpectationError,
    load_expectations,
    make_baseline,
    pretty,
    refuse_unrepeatable,
    save_expectations,
    with_baselines,
)
from bench.results import Results, ResultsError
from bench.rows import ROWS
from bench.tiers import TIERS
from gptcore.dataset import SPLITS


def test_the_committed_file_is_in_canonical_form(tmp_path):
    save_expectations(tmp_path / "again.json", load_expectations(DEFAULT_PATH))
    assert (tmp_path / "again.json").read_text() == DEFAULT_PATH.read_text()


def test_every_row_and_split_is_published_and_every_tier_has_tolerances():
    expectations = load_expectations(DEFAULT_PATH)
    assert list(expectations.published.rows) == [row.number for row in ROWS]
    assert all(set(row.accuracies) == set(SPLITS) for row in expectations.published.rows.values())
    assert set(expectations.tolerances) == set(TIERS)


def test_published_percentages_are_the_counts_they_stand_for():
    for number, row in load_expectations(DEFAULT_PATH).published.rows.items():
        for split, accuracy in row.accuracies.items():
            if accuracy.right is None:
                assert (number, split) == (8, "validation")
            else:
                assert accuracy.percent == pytest.approx(100 * accuracy.right / accuracy.n, abs=0.0051)


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda document: document.pop("published"), "published"),
        (lambda document: document.update(schema_version=2), "schema_version"),
        (lambda document: document.update(surprise=1), "surprise"),
        (lambda document: document["tolerances"]["smoke"]["final_loss"].update(relative=-1), "tolerances.smoke.final_loss.relative"),
        (lambda document: document["published"]["rows"]["1"].update(minutes="soon"), "published.rows.1.minutes"),
        (lambda document: document["tolerances"].pop("smoke"), "tolerances of the smoke tier are missing"),
        (lambda document: document["tolerances"]["smoke"].update(against=[]), "tolerances.smoke.against"),
        (lambda document: document["tolerances"]["smoke"]["accuracy"].update(examples=None), "needs examples, or points"),
        (lambda document: document["baselines"].update(smokee={}), "baselines.smokee"),
        (lambda document: document["baselines"]["smoke"]["cpu"]["1"].update(calibration_seconds=0), "calibration_seconds"),
        (lambda document: document["baselines"]["smoke"]["cpu"]["1"]["counts"].pop("test"), "a count for each split"),
        (lambda document: document["baselines"]["smoke"]["cpu"]["1"]["counts"]["test"].update(n=0), "is no count"),
        (lambda document: document["baselines"]["smoke"]["cpu"]["1"].update(history=[]), "history"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused_naming_the_place(tmp_path, damage, place):
    document = json.loads(DEFAULT_PATH.read_text())
    damage(document)
    path = tmp_path / "expected.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ExpectationError, match=place):
        load_expectations(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"schema_version": NaN}'])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    path = tmp_path / "expected.json"
    path.write_bytes(content)
    with pytest.raises(ExpectationError, match="breaks the schema"):
        load_expectations(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ExpectationError, match="--expected"):
        load_expectations(tmp_path / "nowhere.json")


def test_new_baselines_replace_only_their_own_rows(expectations, run_info, row_result):
    both = with_baselines(expectations, Results(run_info(rows=(1, 2)), {1: row_result(), 2: row_result(row=2)}))
    newer = with_baselines(both, Results(run_info(), {1: row_result(seed=7)}))
    rows = newer.baselines["smoke"]["cpu"]
    assert rows[1].seed == 7
    assert rows[2] == both.baselines["smoke"]["cpu"][2]
    assert newer.published == expectations.published


def test_a_failed_row_keeps_its_old_baseline(expectations, run_info, row_result):
    recorded = with_baselines(expectations, Results(run_info(), {1: row_result()}))
    assert with_baselines(recorded, Results(run_info(), {1: row_result(figures=None, error="broken")})) == recorded
    with pytest.raises(ResultsError, match="broken"):
        make_baseline(run_info(), row_result(figures=None, error="broken"))


def test_expectations_survive_the_disk(tmp_path, expectations, run_info, row_result):
    recorded = with_baselines(expectations, Results(run_info(), {1: row_result()}))
    save_expectations(tmp_path / "expected.json", recorded)
    assert load_expectations(tmp_path / "expected.json") == recorded


def test_two_runs_may_differ_in_nothing_but_time(row_result, figures):
    refuse_unrepeatable({1: row_result()}, {1: row_result(figures=figures(seconds=99.0))})
    for other in (figures(train_loss=0.5000001), figures(right=(1004, 148, 285)), replace(figures(), epoch_accuracies=())):
        with pytest.raises(ExpectationError, match="row 1 gave other figures the second time"):
            refuse_unrepeatable({1: row_result()}, {1: row_result(figures=other)})


def test_a_row_that_failed_in_either_run_is_not_recorded(row_result):
    failed = row_result(figures=None, error="out of luck")
    for first, second in ((failed, row_result()), (row_result(), failed)):
        with pytest.raises(ExpectationError, match="out of luck"):
            refuse_unrepeatable({1: first}, {1: second})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(json_values)
def test_pretty_json_is_the_same_json(value):
    assert json.loads(pretty(value)) == value
