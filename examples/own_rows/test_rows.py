"""Our own tests: every row holds, and a finetuned classifier can be saved and used."""

import pytest
import torch
from rows import ROWS, SUITE, tickets

from bench import Request, check_invariants, finish, holds, run_rows, start_run
from gptcore import Sources, finetune_classifier, load_classifier, save_classifier

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Results of all rows, and a verdict for each."""
    request = Request(SUITE.tiers["tiny"], ROWS, CPU, suite=SUITE)
    folder = start_run(request, tmp_path_factory.mktemp("results") / "run")
    assert [result.row for result in run_rows(request, folder)] == [row.number for row in ROWS]
    check_invariants(request, folder)
    return finish(folder, SUITE.expectations(), rows=ROWS)


@pytest.mark.parametrize("position", range(len(ROWS)), ids=[row.name for row in ROWS])
def test_a_row_holds(judged, position):
    verdict = judged[1][position]
    assert verdict.holds, verdict.judgements


def test_the_run_holds_as_a_whole(judged):
    assert holds(*judged)


def test_a_saved_classifier_tells_urgent_from_routine(tmp_path):
    pooled = ROWS[2].experiment
    _, classifier = finetune_classifier(pooled, tickets(pooled, Sources()), device=CPU)
    save_classifier(classifier, tmp_path / "tickets")
    answers = load_classifier(tmp_path / "tickets").classify(["The app crashed again, please hurry", "Thank you, the app works fine now"])
    assert [answer.name for answer in answers] == ["urgent", "routine"]
