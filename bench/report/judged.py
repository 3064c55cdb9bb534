"""A run with its verdicts as one JSON object, for programs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.report.table import closing_line, own_command
from bench.results import Results
from bench.verdicts.judge import holds
from bench.verdicts.verdict import RowVerdict

BULKY = ("answers", "margins", "attestation")


def judged_object(folder: Path, results: Results, verdicts: Sequence[RowVerdict]) -> dict[str, Any]:
    """The object that `--json` prints.  Its keys:

    schema_version: 1, more when keys change their meaning or go.  holds: whether all rows and invariants do, which the exit code says, too.
    closing: how many rows hold, in words.  folder: where the results are.  run: what was asked and where it ran, as in the folder's run.json.
    rows: a list of objects with row, name, verdict, holds, judgements (metric, verdict, against, found, expected, low, high, explanation, advisory, changed),
    flips (numbers of the test texts lost and gained since the baseline, counted from 0, and McNemar's p; null without), power (drift and drop, fractions),
    published_seconds, command (runs the row alone) and result, null where the row never ran; that is what the row's own file holds, but for what is said of
    single texts and batches.  invariants: a list of objects with name, rows, holds and explanation; null where the run did not end.
    Accuracies are fractions, times seconds, memory bytes.
    """
    return {
        "schema_version": 1,
        "holds": holds(results, verdicts),
        "closing": closing_line(verdicts),
        "folder": str(folder),
        "run": plain_values(results.info),
        "rows": [judged_row(verdict, results) for verdict in verdicts],
        "invariants": plain_values(results.invariants),
    }


def judged_row(verdict: RowVerdict, results: Results) -> dict[str, Any]:
    """One row of the object."""
    said = plain_values(verdict)
    result = said["result"]
    for figures in (result["figures"], *result["others"].values()) if result else ():
        for name in BULKY if figures else ():
            del figures[name]
    return {**said, "name": verdict.name, "command": own_command(verdict, results)}


def plain_values(value: Any) -> Any:
    """JSON's own kinds of values; null for what is not finite."""
    return json.loads(TypeAdapter(type(value)).dump_json(value))
