"""Where a training has come to, on disk: what it takes to go on as if it had never stopped, bit for bit.

Safetensors for the numbers, JSON for the rest.  A file that was damaged, or belongs to another training, is left alone with a warning.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from gptcore.digests import digest_of_tensors
from gptcore.files import write_atomically
from gptcore.out_of_memory import is_out_of_memory
from gptcore.result import EpochAccuracy, Evaluation, Event
from gptcore.stopwatch import Stopwatch


@dataclass
class Course:
    """How far a training has come and what it has said so far, each of it for every seed.  position: number of the next stage of its schedule."""

    position: int = 0
    events: list[list[Event]] = field(default_factory=list)
    first_logits: list[tuple[float, ...]] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    batch_losses: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoints:
    """Where trainings leave off and how often.  every: seconds of training between two checkpoints.

    A checkpoint stays when its training ends: whoever keeps the result removes it then.
    """

    folder: Path
    every: float

    def of(self, name: str, key: str) -> "Checkpoint":
        """The checkpoint of one training.  key: digest of all that its bits depend on."""
        return Checkpoint(self.folder / f"{name}.safetensors", key, self.every)


@dataclass(frozen=True)
class Checkpoint:
    """The file of one training.  clock: the training's, which runs from now on, and leaves out what reading and writing the file take."""

    path: Path
    key: str
    every: float
    clock: Stopwatch = field(default_factory=Stopwatch)

    def restore(self, parameters: Sequence[Tensor], optimizer: Optimizer) -> Course:
        """Set parameters, optimizer, random state and clock to what the file says, and return the course; the beginning where there is no file of use."""
        if not self.path.exists():
            return Course()
        try:
            tensors, course, seconds = self._read(self.path, parameters)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            warnings.warn(f"{self.path} is no checkpoint of this training ({error}): it starts from the beginning", stacklevel=2)
            return Course()
        with torch.no_grad():
            for number, parameter in enumerate(parameters):
                parameter.copy_(tensors[f"parameter.{number}"])
        optimizer.load_state_dict({"state": states_in(tensors), "param_groups": optimizer.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], parameters[0].device)
        self.clock.go_on(seconds)
        return course

    def save_if_due(self, course: Course, parameters: Sequence[Tensor], optimizer: Optimizer) -> None:
        """Write the file if the last one is long enough ago; where disk or memory have no room for it, warn.  No gradients may be pending."""
        if self.clock.lap < self.every:
            return
        seconds = self.clock.seconds
        try:
            self._write(self.path, course, seconds, tensors_of(parameters, optimizer))
        except Exception as error:
            if not (isinstance(error, OSError | SafetensorError) or is_out_of_memory(error)):
                raise
            why = str(error) or "memory ran out"  # as Python's own MemoryError says nothing
            warnings.warn(f"{self.path} cannot be written ({why}): a training that stops now starts again from its last checkpoint", stacklevel=2)
        self.clock.go_on(seconds)

    def _write(self, path: Path, course: Course, seconds: float, tensors: Mapping[str, Tensor]) -> None:
        said = json.dumps({"key": self.key, "seconds": seconds, "course": asdict(course)}, allow_nan=False)
        metadata = {"said": said, "sha256": seal(said, tensors)}
        write_atomically(path, lambda temporary: save_file(dict(tensors), temporary, metadata))

    def _read(self, path: Path, parameters: Sequence[Tensor]) -> tuple[dict[str, Tensor], Course, float]:
        """Raises SafetensorError, OSError, KeyError, TypeError or ValueError for a file that is not whole or not of this training."""
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if metadata["sha256"] != seal(metadata["said"], tensors):
            raise ValueError("it was damaged or altered")
        said = json.loads(metadata["said"])
        if said["key"] != self.key:
            raise ValueError("it is of another training, or of another machine or version")
        if any(tensors[f"parameter.{number}"].shape != parameter.shape for number, parameter in enumerate(parameters)):
            raise ValueError("its parameters have other shapes")
        return tensors, course_from(said["course"]), said["seconds"]


def course_from(said: Mapping[str, Any]) -> Course:
    """A course from its JSON.  An event with a step is an evaluation of the losses."""
    events = [[Evaluation(**event) if "step" in event else EpochAccuracy(**event) for event in of_seeds] for of_seeds in said["events"]]
    return Course(**{**said, "events": events, "first_logits": [tuple(logits) for logits in said["first_logits"]]})


def tensors_of(parameters: Iterable[Tensor], optimizer: Optimizer) -> dict[str, Tensor]:
    """Everything a training goes on from, by name, on the CPU: parameters, what the optimizer keeps of each, and the random states."""
    tensors = {f"parameter.{number}": parameter for number, parameter in enumerate(parameters)}
    on_cuda = [parameter.device for parameter in tensors.values() if parameter.device.type == "cuda"]
    for number, kept in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in kept.items()}
    # Nothing random is left once a schedule is drawn; should a training ever draw again, it goes on where it was.
    tensors["random.cpu"] = torch.get_rng_state()
    if on_cuda:
        tensors["random.cuda"] = torch.cuda.get_rng_state(on_cuda[0])
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def states_in(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """What the optimizer kept of each parameter, by its number."""
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, kind = name.split(".")
            states.setdefault(int(number), {})[kind] = tensor
    return states


def seal(said: str, tensors: Mapping[str, Tensor]) -> str:
    """sha256 of everything a file says."""
    names = sorted(tensors)
    named = torch.frombuffer(bytearray("\n".join([said, *names]).encode()), dtype=torch.uint8)
    return digest_of_tensors([named, *(tensors[name] for name in names)])
