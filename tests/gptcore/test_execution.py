import argparse

import pytest
import torch

from gptcore.errors import UsageError
from gptcore.execution import Execution, add_execution_flags, execution_from, set_threads


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_execution_flags(parser.add_argument)
    return execution_from(parser.parse_args(arguments))


def test_without_flags_it_is_the_default():
    assert parse() == Execution()


def test_flags_become_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("GPTCORE_STATE_CACHE", str(tmp_path))
    execution = parse("--compile", "--memory-budget", "0.5", "--keep-states", "2")
    assert (execution.plain, execution.compiled, execution.memory_budget) == (False, True, 2**29)
    assert (execution.cache.folder, execution.cache.limit) == (tmp_path, 2**31)
    assert parse("--plain").plain
    assert parse("--memory-budget", "0").memory_budget == 0
    assert parse("--keep-states", "0").cache is None


@pytest.mark.parametrize("arguments", [["--memory-budget", "-1"], ["--memory-budget", "nan"], ["--keep-states", "inf"], ["--plain", "--compile"]], ids=str)
def test_impossible_flags_are_refused(arguments):
    with pytest.raises(UsageError, match=arguments[0]):
        parse(*arguments)


@pytest.fixture
def same_threads():
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_threads_are_those_asked_for_else_the_default_else_the_cores(same_threads):
    assert set_threads(2, 1) == 2
    assert set_threads(None, 1) == 1
    assert set_threads(None) >= 1
    for impossible in (0, -1, 10**6):
        with pytest.raises(UsageError, match=f"--threads {impossible} is not possible"):
            set_threads(impossible)
