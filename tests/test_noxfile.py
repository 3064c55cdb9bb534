"""What the sessions derive from pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def lower_bounds(noxfile):
    return noxfile["lower_bounds"]


def test_a_lower_bound_becomes_the_version(lower_bounds):
    assert lower_bounds({"dependencies": ["torch>=2.6", "numpy>=2.0.1,<3,!=2.1"]}) == ["numpy==2.0.1", "torch==2.6"]


def test_extras_count_and_equal_bounds_are_one(lower_bounds):
    extras = {"rows": ["pytest>=8.2"], "test": ["demo[rows]", "pytest>=8.2", "nox"]}
    assert lower_bounds({"dependencies": ["torch>=2.6"], "optional-dependencies": extras}) == ["pytest==8.2", "torch==2.6"]


def test_what_no_constraint_may_hold_is_left_out(lower_bounds):
    assert lower_bounds({"dependencies": ["ray[default]>=2.9; python_version < '3.14'"]}) == ["ray==2.9"]


def test_every_dependency_has_an_oldest_version_and_allows_the_recorded_one(lower_bounds):
    oldest = {pin.name for pin in map(Requirement, lower_bounds(PROJECT))}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    recorded = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert requirement.name in oldest
        assert recorded[requirement.name] in requirement.specifier


def test_the_oldest_end_runs_on_the_oldest_python(noxfile):
    allowed = SpecifierSet(PROJECT["requires-python"])
    major, minor = map(int, noxfile["OLDEST_PYTHON"].split("."))
    assert f"{major}.{minor}" in allowed
    assert f"{major}.{minor - 1}" not in allowed


def test_both_ends_run_every_week(noxfile):
    ends = {end.id: end.call_spec for end in noxfile["decay"].parametrize}
    weekly = (ROOT / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8")
    pythons = dict(re.findall(r"- end: (\w+)\n +python: \"([\d.]+)\"", weekly))
    assert pythons.keys() == ends.keys()
    assert pythons["oldest"] == ends["oldest"]["python"]
