"""Our own tests: every row holds, and a finetuned classifier can be saved and used."""

import pytest
import torch
from rows import suite, tickets

from bench import Request, check_invariants, finish, holds, run_rows, start_run
from gptcore import Sources, finetune_classifier, load_classifier, save_classifier

CPU = torch.device("cpu")
SUITE = suite()


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Results of all rows, and a verdict for each."""
    request = Request(SUITE.tiers["tiny"], SUITE.rows, CPU, suite=SUITE)
    folder = start_run(request, tmp_path_factory.mktemp("results") / "run")
    assert [result.row for result in run_rows(request, folder)] == [row.number for row in SUITE.rows]
    check_invariants(request, folder)
    return finish(folder, SUITE.expectations(), rows=SUITE.rows)


@pytest.mark.parametrize("position", range(len(SUITE.rows)), ids=[row.name for row in SUITE.rows])
def test_a_row_holds(judged, position):
    verdict = judged[1][position]
    assert verdict.holds, verdict.judgements


def test_the_run_holds_as_a_whole(judged):
    assert holds(*judged)


def test_a_saved_classifier_tells_urgent_from_routine(tmp_path):
    experiment = SUITE.rows[0].experiment
    _, classifier = finetune_classifier(experiment, tickets(experiment, Sources()), device=CPU)
    save_classifier(classifier, tmp_path / "tickets")
    answers = load_classifier(tmp_path / "tickets").classify(["The app crashed again, please hurry", "Thank you, the app works fine now"])
    assert [answer.name for answer in answers] == ["urgent", "routine"]
