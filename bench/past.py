"""A past result as commands want it: read, of the suite that is asked, and judged."""

import argparse
from pathlib import Path

from bench.expectations import Expectations
from bench.options import strictness_from
from bench.results import Results, read_results
from bench.suite import Suite
from bench.verdicts.judge import judge
from bench.verdicts.verdict import RowVerdict


def judged(folder: Path, options: argparse.Namespace) -> tuple[Results, Expectations, list[RowVerdict]]:
    """A past result, what is expected of it, and the verdict on each row.  Raises UserError where that cannot be, as for a run of another suite."""
    suite: Suite = options.suite
    results = read_results(folder)
    suite.check_own(results.info, folder)
    expectations = suite.expectations(options.expected)
    return results, expectations, judge(results, expectations, strictness_from(options), suite.rows)
