from dataclasses import replace

import pytest
import torch

import bench.speed.timing
from bench.environment import describe_environment
from bench.rows import ROWS, Row
from bench.speed.timing import FrozenSpeed, RowSpeed, Workload, as_one_run, distinct_rows, frozen_speed, make_workload, measure_rows, render_speed, time_rows
from gptcore.download import DownloadError
from gptcore.errors import UsageError
from gptcore.execution import Execution
from gptcore.features import block_flops
from gptcore.inputs import Sources
from gptcore.sharing import need_of, share_states
from gptcore.training import finetune

CPU = torch.device("cpu")


@pytest.fixture
def toys(toy_tier):
    """The nineteen rows as toys."""
    return [Row(row.number, row.name, toy_tier.scale(row.experiment)) for row in ROWS]


@pytest.fixture
def workload(toys, toy_tier):
    return Workload(toy_tier.gather(toys[0].experiment, Sources()), 12, "toys")


def test_rows_that_random_weights_make_equal_are_timed_once(workload):
    assert [row.number for row in distinct_rows(ROWS, workload)] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19]


def test_a_row_keeps_what_it_changes_and_the_length_of_the_whole_data(workload):
    full_context, no_padding = (workload.experiment_of(ROWS[number - 1]) for number in (13, 14))
    assert workload.experiment_of(ROWS[0]) == replace(ROWS[0].experiment, weights="random", eval_iter=1, context_length="12")
    assert full_context.context_length == "model_context_length"
    assert (no_padding.no_padding, no_padding.batch_size) == (True, 1)


def test_every_row_is_timed_plain_and_fast_and_its_frozen_part_once(toys, workload, monkeypatch):
    ran = []

    def observed(*given, execution=Execution(), **named):
        ran.append(execution.plain)
        return finetune(*given, execution=execution, **named)

    monkeypatch.setattr(bench.speed.timing, "finetune", observed)
    measured = list(measure_rows([toys[index] for index in (0, 1, 4)], workload, CPU, peak=1e9))
    assert [one.row.number if isinstance(one, RowSpeed) else one.rows for one in measured] == [1, 2, (1, 2), 5]
    assert ran == [True, False] * 3
    _, second, frozen, whole = measured
    assert second.this_run < second.alone
    assert all(one.share > 0 for one in measured)
    assert frozen.seconds > 0
    assert whole.this_run == whole.alone


def test_the_share_of_a_frozen_part_counts_what_was_computed(toys, workload):
    experiment = workload.experiment_of(toys[0])
    states = share_states([need_of(experiment, workload.inputs)], experiment, workload.inputs, device=CPU, execution=Execution())
    states.seconds = {0: 2.0}
    one = states.passes[0]
    flops = one.depths[-1] * sum(block_flops(len(states.rows[index]), states.width) for index in one.rows)
    assert frozen_speed((1,), states, peak=100.0) == FrozenSpeed((1,), 2.0, flops / 2.0 / 100.0)


ROW = RowSpeed(ROWS[0], plain=20.0, alone=4.0, this_run=2.0, share=0.125)
OTHER = RowSpeed(ROWS[1], plain=10.0, alone=1.0, this_run=1.0, share=0.5)
FROZEN = FrozenSpeed((1, 2), seconds=1.5, share=0.85)


def test_the_table_shows_every_measurement():
    assert ROW.ratio == 5
    lines = render_speed([ROW, OTHER, FROZEN], "about it").splitlines()
    assert lines[0] == "about it"
    assert lines[4] == "| 1 | reference | 20.00 | 4.00 | 5.0 | 2.00 | 12% |"
    assert {line.count("|") for line in lines if line.startswith("|")} == {8}
    assert as_one_run([ROW, OTHER, FROZEN]) == "rows 1, 2 as one run: plain 30.00 s, fast 3.00 s, 10.0 times faster"
    assert lines[-1] == "frozen part of rows 1, 2: 1.50 s at 85% of the peak."


def test_without_the_published_data_made_up_texts_are_timed(monkeypatch, tmp_path):
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path))

    def no_network(*arguments, **keywords):
        raise DownloadError("no such host, or no network")

    monkeypatch.setattr("gptcore.assets.download", no_network)
    with pytest.warns(UserWarning, match="made-up texts are timed instead"):
        workload = make_workload(16, Sources())
    assert len(workload.inputs.dataset.train) == 16
    assert (len(workload.inputs.dataset.validation), len(workload.inputs.dataset.test)) == (8, 1)
    assert workload.length > 20


def test_the_command_writes_its_table_and_never_over_another(toys, workload, monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(bench.speed.timing, "make_workload", lambda limit, sources: workload)
    monkeypatch.setattr(bench.speed.timing, "matmul_peak", lambda device: 1e9)
    monkeypatch.setattr(Workload, "experiment_of", lambda self, row: row.experiment)

    class Console:
        def print(self, text, **style):
            said.append(text)

    path = tmp_path / "new" / "speed.md"
    time_rows([toys[0]], 16, CPU, 1, path, "python -m bench speed", Console())
    assert said[1].startswith("row 1 (reference): plain ")
    text = path.read_text(encoding="utf-8")
    assert describe_environment(CPU).device_name in text
    assert "| 1 | reference |" in text
    with pytest.raises(UsageError, match="exists: name a new file"):
        time_rows([toys[0]], 16, CPU, 1, path, "python -m bench speed", Console())
