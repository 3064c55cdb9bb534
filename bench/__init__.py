"""bench: rows of fine-tuning experiments as regression checks - run, time, judge, record.

A table: `Row` is a number, a name and an `Experiment`; `Tier` says at what size rows run and on what; `Suite` is a table with its tiers and its file of
expectations.  `PUBLISHED` is the suite of this repository, with the nineteen rows in `ROWS`.
On the command line: `run_command` gives a suite of your own the commands `list`, `run`, `check`, `verify`, `record`, `show`, `summary`
and `cache`.
In Python: a `Request` says what to run where (`checked` says whether that can be); `start_run` makes its results folder, `run_rows` runs the rows,
`check_invariants` checks the run as a whole, `finish` judges it and writes the table; `holds` sums up.  `read_results` reads a folder, `judge` judges it.
Every error that a person can mend is a `gptcore.UserError`.

>>> import tempfile, torch
>>> from pathlib import Path
>>> from gptcore import Dataset, Experiment, GPTConfig, Inputs, Split, byte_tokenizer
>>> texts = Split(("win cash now", "see you soon", "a free prize", "on my way") * 4, (1, 0, 1, 0) * 4)
>>> inputs = Inputs(Dataset(texts, texts, texts), byte_tokenizer(), weights=None)
>>> size = GPTConfig("tiny", width=16, n_layer=2, n_head=2, vocabulary_size=257, context_length=16)
>>> experiment = Experiment(model_size=size, weights="random", trainable_layers="all", learning_rate=1e-2)
>>> tier = Tier("tiny", "toys", full_size, lambda experiment, sources: inputs)
>>> place = Path(tempfile.mkdtemp())
>>> suite = Suite([Row(1, "reference", experiment)], {"tiny": tier}, place / "expected_results.json")
>>> request = checked(Request(tier, suite.rows, torch.device("cpu"), suite=suite))
>>> folder = start_run(request, place / "run")
>>> [result.figures.counts["test"] for result in run_rows(request, folder)]
[Count(right=16, n=16)]
>>> check_invariants(request, folder)
>>> results, verdicts = finish(folder, suite.expectations(), rows=suite.rows)
>>> verdicts[0].verdict, holds(results, verdicts)  # nothing was recorded yet, so there is nothing that it holds
(<Verdict.MISSING: 'missing'>, False)
"""

# ruff: noqa: E402 - before anything that takes long
from gptcore.starting import start_quietly

start_quietly()

from bench.executors.running import run_rows
from bench.expectations import ExpectationError, Expectations, load_expectations, save_expectations
from bench.finishing import finish
from bench.invariants import check_invariants
from bench.request import Request, checked
from bench.results import Invariant, Results, ResultsError, RowResult, RunInfo, read_results
from bench.rows import ROWS, Row
from bench.run import start_run
from bench.suite import PUBLISHED, Suite, run_command
from bench.tiers import Tier, full_size
from bench.verdicts.judge import holds, judge
from bench.verdicts.verdict import Judgement, RowVerdict, Strictness, Verdict

__all__ = [
    "PUBLISHED",
    "ROWS",
    "ExpectationError",
    "Expectations",
    "Invariant",
    "Judgement",
    "Request",
    "Results",
    "ResultsError",
    "Row",
    "RowResult",
    "RowVerdict",
    "RunInfo",
    "Strictness",
    "Suite",
    "Tier",
    "Verdict",
    "check_invariants",
    "checked",
    "finish",
    "full_size",
    "holds",
    "judge",
    "load_expectations",
    "read_results",
    "run_command",
    "run_rows",
    "save_expectations",
    "start_run",
]
