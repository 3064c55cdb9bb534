"""What can be asked of where rows run.  Nothing of it changes a figure."""

from dataclasses import dataclass

from gptcore.errors import UsageError

EXECUTORS = {
    "local": "on this machine",
    "ray": "on a Ray cluster (extra `ray`)",
    "slurm": "as Slurm jobs (extra `slurm`)",
}
MOST_WORKERS = 1024


@dataclass(frozen=True)
class Executor:
    """Where rows run, and how many at a time.

    workers: None for as many as there is room for, on this machine one, or one for each of several GPUs.  address: of a Ray cluster, None to start one here.
    jobs: how Slurm is to be asked for jobs, such as `partition=gpu,time=240`.
    """

    name: str = "local"
    workers: int | None = None
    address: str | None = None
    jobs: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            raise UsageError(f"--workers {self.workers} is not possible: give a number from 1 to {MOST_WORKERS}")
        if self.address is not None and self.name != "ray":
            raise UsageError(f"--address {self.address} is of a Ray cluster: use it with --executor ray, or leave it out")
        if self.jobs is not None and self.name != "slurm":
            raise UsageError(f"--jobs {self.jobs} is for Slurm: use it with --executor slurm, or leave it out")

    @property
    def options(self) -> dict[str, str | int | None]:
        """The flags that ask for it, None for what was not asked."""
        return {
            "--executor": None if self.name == "local" else self.name,
            "--workers": self.workers,
            "--address": self.address,
            "--jobs": self.jobs,
        }
