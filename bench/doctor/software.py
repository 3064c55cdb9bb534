"""Versions, and the settings that move figures."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import torch
from packaging.requirements import Requirement

from bench.doctor.finding import Finding, State, Visit
from bench.environment import NUMERICAL_VARIABLES
from bench.verdicts.judge import minor_version
from bench.wording import share
from gptcore.device import float32_products, reproducible

OURSELVES = "finetuning-benchmarks"
COUNTS_OF_THREADS = ("MKL_NUM_THREADS", "OMP_NUM_THREADS")
REPEATABLE_WORKSPACES = (":4096:8", ":16:8")


def versions_are_supported(visit: Visit) -> Iterator[Finding]:  # noqa: ARG001 - every look is asked the same way
    """versions: of packages, against the range that is supported."""
    wanted = [Requirement(line) for line in requires(OURSELVES) or () if "extra ==" not in line]
    wrong = [
        f"{requirement.name} {found or 'is missing'} (needs {requirement.specifier})"
        for requirement in wanted
        if not fits(requirement, found := version_of(requirement.name))
    ]
    if wrong:
        yield Finding("versions", State.PROBLEM, f"{', '.join(wrong)}: install with python -m pip install --constraint constraints.txt --editable .")
        return
    yield Finding("versions", State.OK, f"Python {platform.python_version()}, torch {torch.__version__}, and all {len(wanted)} packages are in their ranges")


def version_of(package: str) -> str | None:
    """The installed version of a package, if it is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def fits(requirement: Requirement, found: str | None) -> bool:
    """Whether a version is in the range; one that someone built in advance of a release is."""
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def versions_are_the_recorded_ones(visit: Visit) -> Iterator[Finding]:
    """baselines: recorded with which torch, on which machine."""
    recorded = visit.expectations.baselines.get(visit.info.tier, {}).get(visit.info.kind, {})
    rows = [row.number for row in visit.request.rows if row.number in recorded]
    against_published = "published" in visit.expectations.policies[visit.info.tier].against and visit.info.precision == "fp32"
    if not rows:
        sentence = "figures are held against the published ones alone" if against_published else "rows will be missing a baseline: record one with bench record"
        yield Finding("baselines", State.OK if against_published else State.WARNING, f"none of these rows was recorded on {visit.info.kind}; {sentence}")
        return
    torches = sorted({recorded[row].provenance.torch for row in rows})
    others = [one for one in torches if minor_version(one) != minor_version(torch.__version__)]
    if others:
        yield Finding(
            "baselines", State.WARNING, f"recorded with torch {', '.join(others)}, and {torch.__version__} is here: figures may drift, which only warns then"
        )
        return
    yield Finding(
        "baselines",
        State.OK,
        f"{share(len(rows), len(visit.request.rows), 'row', ('was', 'were'))} recorded on {visit.info.kind}, with torch {', '.join(torches)}",
    )


def settings_move_no_figure(visit: Visit) -> Iterator[Finding]:
    """determinism: switches of torch and variables of the environment that move figures."""
    with reproducible(), float32_products(visit.request.precision):
        if not torch.are_deterministic_algorithms_enabled():
            yield Finding("determinism", State.PROBLEM, "torch refuses deterministic algorithms: install the torch of constraints.txt")
            return
    suspicious = [f"{name}={os.environ[name]}" for name in sorted(NUMERICAL_VARIABLES) if moves_figures(name, visit)]
    if suspicious:
        yield Finding("determinism", State.WARNING, f"{' '.join(suspicious)} in the environment moves figures: unset it, unless that is what you measure")
        return
    yield Finding("determinism", State.OK, "deterministic algorithms can be used, and no variable of the environment moves figures")


def moves_figures(name: str, visit: Visit) -> bool:
    """Whether a variable is set to something that figures on the device depend on."""
    value = os.environ.get(name)
    if value is None or name in COUNTS_OF_THREADS:  # the number of threads is set by the run itself
        return False
    if name == "CUBLAS_WORKSPACE_CONFIG":
        return value not in REPEATABLE_WORKSPACES
    if "TF32" in name:
        return visit.device.type == "cuda" and value != "0"
    return visit.device.type == "cpu"


def threads_are_the_recorded_ones(visit: Visit) -> Iterator[Finding]:
    """threads: sums come out otherwise with another number, and durations are not compared."""
    threads = visit.info.environment.threads
    recorded = visit.expectations.baselines.get(visit.info.tier, {}).get(visit.info.kind, {}).values()
    known = sorted({baseline.provenance.threads for baseline in recorded})
    if visit.device.type == "cpu" and known and threads not in known:
        counts = " or ".join(map(str, known))
        yield Finding("threads", State.WARNING, f"{threads}, and baselines were recorded with {counts}: durations are not compared; --threads {known[0]} would")
        return
    yield Finding("threads", State.OK, f"{threads}")
