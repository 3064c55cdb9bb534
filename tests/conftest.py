"""What tests of the checkout as a whole share."""

import gc
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def noxfile():
    """The sessions' file, whose paths are relative to the checkout; nox takes it badly to be told of a session twice in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return runpy.run_path("noxfile.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Every row collects garbage before it is measured, which takes half a second beside all that tests import."""
    gc.collect()
    gc.freeze()
