import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.expectations import DEFAULT_PATH, Baseline, ExpectationError, SeedFigures, load_expectations, pretty, save_expectations
from bench.recording.baselines import with_baselines
from bench.results import Results
from bench.rows import ROWS
from bench.tiers import TIERS
from gptcore.dataset import SPLITS


@pytest.fixture
def document(tmp_path, recorded, of_seeds, seeds):
    """A file of expectations with a baseline in every way a baseline can be filled, as JSON."""
    path = tmp_path / "whole.json"
    save_expectations(path, recorded(of_seeds(seeds(3)), moves=(1e-6, -1e-6), seconds=(16.0, 16.5)))
    return json.loads(path.read_text())


def test_the_committed_file_is_in_canonical_form(tmp_path):
    save_expectations(tmp_path / "again.json", load_expectations(DEFAULT_PATH))
    assert (tmp_path / "again.json").read_text() == DEFAULT_PATH.read_text()


def test_every_row_and_split_is_published_and_every_tier_has_a_policy():
    expectations = load_expectations(DEFAULT_PATH)
    assert list(expectations.published.rows) == [row.number for row in ROWS]
    assert all(set(row.accuracies) == set(SPLITS) for row in expectations.published.rows.values())
    assert set(expectations.policies) == set(TIERS)


def test_a_drift_fails_in_smoke_alone_and_only_full_is_held_against_the_publication():
    policies = load_expectations(DEFAULT_PATH).policies
    assert {tier: policy.drift_fails for tier, policy in policies.items()} == {"smoke": True, "full": False}
    assert {tier: "published" in policy.against for tier, policy in policies.items()} == {"smoke": False, "full": True}


def test_the_authors_reruns_are_the_ones_told_as_a_flaw():
    published = load_expectations(DEFAULT_PATH).published
    assert published.reruns == {"train": 1, "validation": 1, "test": 2}
    assert any("moved by at most 1 of 1040, 1 of 149 and 2 of 300" in flaw.flaw for flaw in published.flaws)


def test_published_percentages_are_the_counts_they_stand_for():
    for number, row in load_expectations(DEFAULT_PATH).published.rows.items():
        for split, accuracy in row.accuracies.items():
            if accuracy.right is None:
                assert (number, split) == (8, "validation")
            else:
                assert accuracy.percent == pytest.approx(100 * accuracy.right / accuracy.n, abs=0.0051)


def first_baseline(document):
    return document["baselines"]["smoke"]["cpu"]["1"]


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda document: document.pop("published"), "published"),
        (lambda document: document["baselines"]["smoke"]["cpu"].update({"01": first_baseline(document)}), r"baselines\.smoke\.cpu\.01"),
        (lambda document: document["published"]["rows"].update({"+1": document["published"]["rows"]["2"]}), r"published\.rows\.\+1"),
        (lambda document: first_baseline(document)["seeds"].update({"0124": first_baseline(document)["seeds"]["124"]}), r"seeds\.0124"),
        (lambda document: document.update(schema_version=1), r"was written by an older version of bench \(schema 1, this one reads 2\)"),
        (lambda document: document.update(schema_version=3), r"was written by a newer version of bench \(schema 3, this one reads 2\)"),
        (lambda document: document.update(schema_version="2"), "schema_version"),
        (lambda document: document["baselines"]["smoke"].update(cpu={"20": first_baseline(document)}), "baselines.smoke.cpu.20"),
        (lambda document: document["published"]["rows"].update({"0": document["published"]["rows"]["1"]}), "published.rows.0"),
        (lambda document: document["published"]["rows"]["1"]["accuracies"]["test"].update(right=301), "301 right of 300 is no count"),
        (lambda document: document["published"]["rows"]["1"]["accuracies"].pop("test"), "an accuracy for each split"),
        (lambda document: document["published"].update(data_digest="abc"), "published.data_digest"),
        (lambda document: document["published"]["reruns"].update(test=-1), "published.reruns.test"),
        (lambda document: first_baseline(document)["bands"]["traces"].update(weight_norm=[-1e-6]), "bands.traces.weight_norm.0"),
        (lambda document: first_baseline(document)["bands"]["margins"].update(test=-1), "bands.margins.test"),
        (lambda document: first_baseline(document)["bands"]["counts"].update(test=[286, 285]), "286 to 285 is no range"),
        (lambda document: first_baseline(document)["bands"]["counts"].update(test=[285, 301]), "no count of its 300 texts"),
        (lambda document: first_baseline(document)["bands"]["seeds"].update(test_accuracy=[0.9, 0.8]), "0.9 to 0.8 is no range"),
        (lambda document: first_baseline(document)["bands"].update(duration=[-0.5, 2.0]), "bands.duration.0"),
        (lambda document: first_baseline(document)["digests"].update(data="D" * 64), "digests.data"),
        (lambda document: first_baseline(document)["provenance"].update(date="yesterday"), "provenance.date"),
        (lambda document: first_baseline(document)["repeats"][0]["deviations"].pop("weight_norm"), "deviations of the repeats are not as many"),
        (lambda document: first_baseline(document)["seeds"]["124"]["validation_loss"].append(0.5), "as many validation losses"),
        (lambda document: first_baseline(document)["seeds"]["124"]["counts"]["test"].update(n=299), "seeds are of different texts"),
        (lambda document: first_baseline(document).update(seed="123"), "baselines.smoke.cpu.1.seed"),
        (lambda document: document.update(surprise=1), "surprise"),
        (lambda document: document["policies"]["full"]["duration"].update(at_most=0), "policies.full.duration.at_most"),
        (lambda document: document["policies"]["smoke"].update(drift_fails="perhaps"), "policies.smoke.drift_fails"),
        (lambda document: document["policies"].pop("smoke"), "policy of the smoke tier is missing"),
        (lambda document: document["policies"]["smoke"].update(against=[]), "policies.smoke.against"),
        (lambda document: document["policies"]["smoke"].update(against=["hearsay"]), "policies.smoke.against"),
        (lambda document: document["published"]["rows"]["1"].update(minutes="soon"), "published.rows.1.minutes"),
        (lambda document: document["published"].pop("reruns"), "published.reruns"),
        (lambda document: document["methods"].update(numerical=1), "methods.numerical"),
        (lambda document: document["baselines"].update(smokee={}), "policy of the smokee tier is missing"),
        (lambda document: first_baseline(document).update(seed=7), "figures of its own seed"),
        (lambda document: first_baseline(document).update(timings=[]), "timings"),
        (lambda document: first_baseline(document)["timings"][0].update(calibration_seconds=0), "calibration_seconds"),
        (lambda document: first_baseline(document)["seeds"]["124"]["counts"].pop("test"), "a count for each split"),
        (lambda document: first_baseline(document)["seeds"]["124"]["counts"]["test"].update(n=0), "is no count"),
        (lambda document: first_baseline(document)["seeds"]["124"]["answers"]["test"].update(n=7), "a bitmap of 7 flags"),
        (lambda document: first_baseline(document)["seeds"]["124"].update(train_loss=[]), "train_loss"),
        (lambda document: first_baseline(document)["repeats"][0].pop("condition"), "repeats.0.condition"),
        (lambda document: first_baseline(document)["bands"].update(seeds={"test_accuracy": [0.9]}), "bands.seeds.test_accuracy"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused_naming_the_place(tmp_path, document, damage, place):
    damage(document)
    path = tmp_path / "expected.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ExpectationError, match=place):
        load_expectations(path)


def test_a_seed_has_a_loss_and_a_count_of_every_split_and_answers_only_where_they_are_known(figures):
    counts = figures().counts
    assert SeedFigures(counts, {}, (0.5,), (0.6,)).answers == {}
    with pytest.raises(ValueError, match="a count for each split"):
        SeedFigures({"test": counts["test"]}, {}, (0.5,), (0.6,))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"schema_version": NaN}', b'{"schema_version": 2, "schema_version": 2}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    path = tmp_path / "expected.json"
    path.write_bytes(content)
    with pytest.raises(ExpectationError, match="breaks the schema"):
        load_expectations(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ExpectationError, match="--expected"):
        load_expectations(tmp_path / "nowhere.json")


def test_expectations_survive_the_disk(tmp_path, recorded, of_seeds, seeds):
    expectations = recorded(of_seeds(seeds(3)), moves=(1e-6, -1e-6), seconds=(16.0, 16.5))
    save_expectations(tmp_path / "expected.json", expectations)
    assert load_expectations(tmp_path / "expected.json") == expectations


def test_a_baseline_without_repeats_seeds_and_answers_survives_the_disk(tmp_path, expectations, run_info, row_result):
    bare = with_baselines(expectations, Results(run_info(), {1: row_result()}))
    baseline: Baseline = bare.baselines["smoke"]["cpu"][1]
    counts_alone = replace(baseline, margins={}, seeds={123: replace(baseline.own, answers={})})
    bare = replace(bare, baselines={"full": {"cpu": {1: counts_alone}}})
    save_expectations(tmp_path / "expected.json", bare)
    assert load_expectations(tmp_path / "expected.json") == bare


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(json_values)
def test_pretty_json_is_the_same_json(value):
    assert json.loads(pretty(value)) == value


def test_the_recorded_memory_tells_twice_as_much_from_the_usual():
    """Two runs in one process do not measure the same: the band that followed from them let five times as much pass."""
    recorded = [baseline.bands.peak_memory for baseline in load_expectations(DEFAULT_PATH).baselines["smoke"]["cpu"].values()]
    assert len(recorded) == 19
    assert all(band is not None and band[1] < 2 for band in recorded)
