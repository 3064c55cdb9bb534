"""Whether a request can run where it was asked to, said before anything runs."""

import os
import re
import shutil
import socket
from importlib.util import find_spec

import torch

from bench.executors.choice import Executor
from bench.request import Request
from gptcore.errors import UsageError

PATIENCE = 5.0  # seconds to wait for an answer from a cluster's port: Ray itself waits for minutes, and ends the process
PACKAGES = {"ray": "ray", "slurm": "submitit"}


def places_of(request: Request) -> list[torch.device]:
    """A device for each row that runs on this machine at a time: one, or as many as there are GPUs, or as many as were asked for."""
    device, workers = request.device, request.executor.workers
    if device.type != "cuda" or device.index is not None:
        return [device] * (workers or 1)
    judges_time = request.timing_only or bool(request.perturbation)  # what one process must do
    alike = gpus_alike()
    n = workers or (1 if judges_time else len(alike))
    return [device] if n == 1 else alike[:n]


def gpus_alike() -> list[torch.device]:
    """The first GPU of this machine, and all others of its kind: rows of one table come from one kind of device."""
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [torch.device("cuda", index) for index, name in enumerate(names) if name == names[0]]


def runs_here(request: Request) -> bool:
    """Whether this very process runs the rows, one after another."""
    return request.executor.name == "local" and len(places_of(request)) == 1


def check_executor(request: Request) -> None:
    """Raise UsageError for an executor that is not installed, has too few GPUs, or cannot do what the request asks."""
    executor, device = request.executor, request.device
    package = PACKAGES.get(executor.name)
    if package and find_spec(package) is None:
        raise UsageError(f"--executor {executor.name} needs the package {package}: install it with `python -m pip install {package}`")
    if executor.name == "local" and device == torch.device("cuda") and (executor.workers or 1) > max(1, n_gpus := len(gpus_alike())):
        gpus = "1 GPU of this machine that is" if n_gpus == 1 else f"{n_gpus} GPUs of this machine that are"
        raise UsageError(f"--workers {executor.workers} is more than the {gpus} like its first one: rows get one each")
    if runs_here(request):
        return
    if executor.name == "ray":
        check_address(address_of(executor))
    if executor.name == "slurm":
        asked_of_slurm(executor.jobs)
        if shutil.which("sbatch") is None:
            raise UsageError("there is no Slurm on this machine (no sbatch is found): start the run on a machine that submits jobs, or use another --executor")
    if request.timing_only:
        raise UsageError("--timing-only judges seconds, which mean nothing in workers that run side by side: leave --executor and --workers out")
    if request.perturbation:
        raise UsageError("--perturb works in one process: leave --executor and --workers out")
    if device.type == "mps":
        raise UsageError("rows cannot share the one GPU that mps has: leave --executor and --workers out, or use --device cpu")
    if device.index is not None:
        raise UsageError(f"--device {device} is one GPU, and workers get one each: use --device {device.type}, or leave --executor and --workers out")


def address_of(executor: Executor) -> str | None:
    """Where the Ray cluster is, None for one that is to be started here."""
    return executor.address or os.environ.get("RAY_ADDRESS")


def check_address(address: str | None) -> None:
    """Raise UsageError for an address where nobody answers, and for a client's, which cannot stream results."""
    if address is None:
        return
    if address.startswith("ray://"):
        raise UsageError(f"--address {address} is that of a Ray client: start the run on a machine of the cluster with --address auto")
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host, int(port)), PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise UsageError(unreachable(address, error)) from error


def unreachable(address: str, error: Exception) -> str:
    """What to say of a cluster that does not answer."""
    why = (str(error).strip().splitlines() or ["no answer"])[0].rstrip(".")
    return f"the Ray cluster {address} cannot be reached ({why}): start it with `ray start --head`, or leave --address out to use this machine"


def asked_of_slurm(said: str | None) -> dict[str, str]:
    """What `--jobs` says.  Raises UsageError for what is no list of KEY=VALUE, or would not stay in its line of the script that sbatch gets."""
    pairs = [pair.partition("=") for pair in (said or "").split(",") if pair]
    asked = {key.strip(): value.strip() for key, _, value in pairs}
    if not all(re.fullmatch("[a-z0-9-]+", key) and value and value.isprintable() for key, value in asked.items()):  # submitit quotes values alone
        raise UsageError(f"--jobs {said!r} is no list of KEY=VALUE: write what sbatch calls its long options, such as partition=gpu,time=240")
    return asked
