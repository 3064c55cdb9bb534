import json
import struct
from dataclasses import replace

import pytest

import bench.tiers
from bench.__main__ import main
from bench.report.verification import verification_line, verification_summary
from bench.results import row_file, write_row
from bench.rows import select_rows
from bench.run import run_rows_here, start_run
from bench.verification import compare, compare_seed, prepare, verify
from gptcore.packing import pack_floats, unpack_floats


@pytest.fixture(autouse=True)
def toy_smoke(monkeypatch, toy_tier):
    monkeypatch.setitem(bench.tiers.TIERS, "smoke", toy_tier)


def next_float(value):
    """The next float32."""
    return struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack("<f", value))[0] + 1))[0]


def nudged_from(step, figures):
    """Figures whose losses differ in the last bit from a step on, and whose weights and logits are others."""
    losses = unpack_floats(figures.attestation.batch_losses)
    moved = [next_float(loss) if number >= step else loss for number, loss in enumerate(losses)]
    return replace(figures, attestation=replace(figures.attestation, weights="0" * 64, logits="1" * 64, batch_losses=pack_floats(moved)))


def test_a_rerun_on_the_same_machine_is_bit_identical(toy_run, capsys):
    assert main(["verify", str(toy_run.folder)]) == 0
    said = capsys.readouterr().out
    assert "row 1 (reference): bit-identical: weights, logits and the loss of every batch" in said
    assert "2 of 2 rows are bit-identical" in said


def test_rows_are_verified_as_they_ran_beside_all_others(toy_request, tmp_path):
    """Long rows, shared states and several seeds included."""
    request = toy_request("1-5,11,14", n_seeds=3)
    folder = start_run(request, tmp_path / "run")
    list(run_rows_here(request, folder))
    verified = [*verify(prepare(folder, select_rows("4,5,11")))]
    assert [(row.row, row.identical, len(row.seeds)) for row in verified] == [(4, True, 3), (5, True, 3), (11, True, 3)]


def test_a_single_bit_is_found_and_placed(toy_run, capsys):
    row = toy_run.results.rows[1]
    write_row(toy_run.folder, replace(row, figures=nudged_from(2, row.figures)))
    assert main(["verify", str(toy_run.folder), "--rows", "1"]) == 1
    said = capsys.readouterr().out
    assert "row 1 (reference): not identical, seed 123: losses part at step 2 and lie up to " in said
    assert "0 of 1 row is bit-identical; code, versions, threads and machine are the same, so they should be" in said


def test_how_far_is_told_of_losses_margins_and_answers(figures):
    before, after = figures(), figures(right=(1005, 148, 283))
    losses = pack_floats((0.9, 0.5, 0.25))
    after = replace(after, attestation=replace(after.attestation, logits="c" * 64, batch_losses=losses))
    found = compare_seed(123, before, after)
    assert (found.identical, found.first_step, found.flipped, found.margins) == (False, 1, 2, 2.0)
    assert found.losses == pytest.approx(0.25)


def test_weights_alone_may_differ(figures):
    before = figures()
    found = compare_seed(7, before, replace(before, attestation=replace(before.attestation, weights="0" * 64)))
    assert (found.identical, found.first_step, found.losses, found.flipped) == (False, None, 0.0, 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"digests": {"settings": "0" * 64}}, "settings changed since"),
        ({"figures": None, "error": "out of memory\nTraceback"}, "it fails now (out of memory)"),
    ],
)
def test_what_cannot_be_compared_says_why(row_result, changes, sentence):
    found = compare(row_result(), row_result(**changes))
    assert not found.identical
    assert sentence in verification_line(found)


def test_figures_that_were_altered_under_an_attestation_that_was_not_are_found(figures):
    found = compare_seed(7, figures(), figures(right=(1005, 148, 283)))
    assert (found.identical, found.flipped) == (False, 2)


def of_one_step(figures):
    return replace(figures, attestation=replace(figures.attestation, batch_losses=pack_floats((0.5,))))


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        (lambda figures: {"others": {124: figures()}}, "it holds other seeds than its run was asked for"),
        (lambda figures: {"figures": of_one_step(figures())}, "it holds figures of other texts or steps than its experiment has"),
    ],
)
def test_figures_of_another_extent_are_no_reason_to_crash(row_result, figures, others, sentence):
    assert sentence in verification_line(compare(row_result(**others(figures)), row_result()))


def test_verifying_leaves_no_file_anywhere(toy_request, tmp_path, monkeypatch):
    request = toy_request("5", checkpoint_every=1e-9)
    folder = start_run(request, tmp_path / "run")
    list(run_rows_here(request, folder))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert [row.identical for row in verify(prepare(folder, None))] == [True]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_row_that_failed_first_is_not_verified(row_result):
    assert "it failed the first time (broken)" in verification_line(compare(row_result(figures=None, error="broken\nTraceback"), row_result()))


def test_several_seeds_are_told_by_the_worst(of_seeds, seeds):
    one, two, three = seeds(3)
    worst = nudged_from(0, two)
    worst = replace(worst, margins=worst.margins | {"test": tuple(5.0 for _ in worst.margins["test"])})
    found = compare(of_seeds([one, two, three]), of_seeds([nudged_from(1, one), worst, three]))
    assert "2 of 3 seeds moved; not identical, seed 124: losses part at step 0" in verification_line(found)


def test_another_machine_is_named_as_a_reason(row_result, figures):
    moved = compare(row_result(), row_result(figures=nudged_from(0, figures())))
    assert "this is not where they came about (threads were 2 and are 1)" in verification_summary([moved], ["threads were 2 and are 1"])


def test_json_says_the_same(toy_run, capsys):
    assert main(["verify", str(toy_run.folder), "--json", "--rows", "2"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [(row["row"], row["identical"]) for row in content["rows"]] == [(2, True)]
    assert content["changes"] == []


def test_of_a_run_that_is_half_done_what_is_there_is_verified(toy_run, capsys):
    row_file(toy_run.folder, 1).unlink()
    assert main(["verify", str(toy_run.folder)]) == 0
    assert "1 of 1 row is bit-identical" in capsys.readouterr().out


def test_of_a_run_that_only_began_there_is_nothing_to_verify(toy_run, capsys):
    for number in (1, 2):
        row_file(toy_run.folder, number).unlink()
    assert main(["verify", str(toy_run.folder)]) == 2
    assert "holds no row yet: go on with `python -m bench run --resume" in capsys.readouterr().err


@pytest.mark.parametrize(("rows", "sentence"), [("3", "holds no row 3"), ("99", "row 99 does not exist"), ("", "--rows '' is not a selection of rows")])
def test_a_row_that_is_not_there_is_a_mistake(toy_run, rows, sentence, capsys):
    assert main(["verify", str(toy_run.folder), "--rows", rows]) == 2
    assert sentence in capsys.readouterr().err
