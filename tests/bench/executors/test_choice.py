import pytest

from bench.executors.choice import Executor
from gptcore.errors import UsageError


@pytest.mark.parametrize("workers", [0, -1, 1025])
def test_an_impossible_number_of_workers_is_refused(workers):
    with pytest.raises(UsageError, match=f"--workers {workers} is not possible: give a number from 1 to 1024"):
        Executor(workers=workers)


def test_what_belongs_to_another_executor_is_refused():
    with pytest.raises(UsageError, match="--address here:1 is of a Ray cluster"):
        Executor("slurm", address="here:1")
    with pytest.raises(UsageError, match="--jobs time=1 is for Slurm"):
        Executor("ray", jobs="time=1")


def test_the_usual_executor_needs_no_flags():
    assert set(Executor().options.values()) == {None}
    assert Executor("ray", 2, "auto").options == {"--executor": "ray", "--workers": 2, "--address": "auto", "--jobs": None}
