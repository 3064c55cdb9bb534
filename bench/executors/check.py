"""Whether a request can run where it was asked to, said before anything runs."""

from importlib.util import find_spec

import torch

from bench.run import Request
from gptcore.errors import UsageError

PACKAGES = {"ray": "ray", "slurm": "submitit"}


def places_of(request: Request) -> list[torch.device]:
    """A device for each row that runs on this machine at a time: one, or as many as there are GPUs, or as many as were asked for."""
    device, workers = request.device, request.executor.workers
    if device.type != "cuda" or device.index is not None:
        return [device] * (workers or 1)
    judges_time = request.timing_only or bool(request.perturbation)  # what one process must do
    n = workers or (1 if judges_time else torch.cuda.device_count())
    return [device] if n == 1 else [torch.device("cuda", index) for index in range(n)]


def runs_here(request: Request) -> bool:
    """Whether this very process runs the rows, one after another."""
    return request.executor.name == "local" and len(places_of(request)) == 1


def check_executor(request: Request) -> None:
    """Raise UsageError for an executor that is not installed, has too few GPUs, or cannot do what the request asks."""
    executor, device = request.executor, request.device
    package = PACKAGES.get(executor.name)
    if package and find_spec(package) is None:
        raise UsageError(f"--executor {executor.name} needs the package {package}: install it with `python -m pip install --editable '.[{executor.name}]'`")
    if runs_here(request):
        return
    if request.timing_only:
        raise UsageError("--timing-only judges seconds, which mean nothing in workers that run side by side: leave --executor and --workers out")
    if request.perturbation:
        raise UsageError("--perturb works in one process: leave --executor and --workers out")
    if device.type == "mps":
        raise UsageError("rows cannot share the one GPU that mps has: leave --executor and --workers out, or use --device cpu")
    if device.index is not None:
        raise UsageError(f"--device {device} is one GPU, and workers get one each: use --device {device.type}, or leave --executor and --workers out")
    if executor.name == "local" and device.type == "cuda" and len(places_of(request)) > torch.cuda.device_count():
        raise UsageError(f"--workers {executor.workers} is more than the {torch.cuda.device_count()} GPUs of this machine: rows get one each")
