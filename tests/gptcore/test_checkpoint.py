import dataclasses
import errno
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import gptcore.checkpoint
import gptcore.stopwatch
from gptcore.checkpoint import Checkpoint, Checkpoints, Course
from gptcore.execution import Execution
from gptcore.result import EpochAccuracy, Evaluation, Progress
from gptcore.training import finetune, finetune_seeds

CPU = torch.device("cpu")
LONG = [
    {"trainable_layers": "all"},
    {"trainable_layers": "all", "weights": "random", "accumulation_steps": 3},
    {"trainable_layers": "lora", "lora_rank": 2},
    {"trainable_layers": "lora_alternative", "no_padding": True, "batch_size": 1, "num_epochs": 1, "eval_freq": 9},
]


class Stop(BaseException):
    """What takes a process down in the middle of a training."""


def stopping_at(n):
    """Hears n events, then stops."""
    heard = []

    def report(event):
        heard.extend(figures_heard([event]))
        if len(heard) == n:
            raise Stop

    return report


def figures_heard(events):
    """The events that are results."""
    return [event for event in events if not isinstance(event, Progress)]


def figures_of(result):
    """Everything but durations."""
    return dataclasses.replace(result, train_seconds=0.0, real_seconds=0.0)


def keeping(folder, every=0.0, **settings):
    return Execution(checkpoints=Checkpoints(folder, every), **settings)


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("settings", LONG, ids=str)
def test_a_training_that_stopped_goes_on_to_the_same_bits(settings, plain, miniature, inputs_of, tmp_path):
    experiment = miniature(**settings)
    inputs = inputs_of(experiment)
    whole = finetune(experiment, inputs, device=CPU, execution=Execution(plain=plain))
    n_events = len(whole.history) + len(whole.epoch_accuracies)
    for number in range(1, n_events + 1, 2):
        execution = keeping(tmp_path / str(number), plain=plain)
        with pytest.raises(Stop):
            finetune(experiment, inputs, device=CPU, execution=execution, report=stopping_at(number))
        heard = []
        again = finetune(experiment, inputs, device=CPU, execution=execution, report=heard.append)
        assert figures_of(again) == figures_of(whole)
        assert sorted(figures_heard(heard), key=str) == sorted([*whole.history, *whole.epoch_accuracies], key=str)
        assert [path.name for path in (tmp_path / str(number)).iterdir()] == ["seed-123.safetensors"]  # until somebody has kept the result


def test_a_training_that_stops_over_and_over_ends_with_the_same_bits(miniature, inputs_of, tmp_path):
    experiment = miniature(trainable_layers="all")
    inputs = inputs_of(experiment)
    whole = finetune(experiment, inputs, device=CPU)
    for number in range(1, len(whole.history)):
        with pytest.raises(Stop):
            finetune(experiment, inputs, device=CPU, execution=keeping(tmp_path), report=stopping_at(number))
    assert figures_of(finetune(experiment, inputs, device=CPU, execution=keeping(tmp_path))) == figures_of(whole)


def test_seeds_side_by_side_go_on_together(miniature, inputs_of, tmp_path):
    experiment = miniature(trainable_layers="lora", lora_rank=2)
    inputs, seeds = inputs_of(experiment), [124, 125, 126]
    whole = finetune_seeds(experiment, inputs, seeds, device=CPU)
    with pytest.raises(Stop):
        finetune_seeds(experiment, inputs, seeds, device=CPU, execution=keeping(tmp_path), report=stopping_at(3))
    assert [path.name for path in tmp_path.iterdir()] == ["seed-124.safetensors"]
    again = finetune_seeds(experiment, inputs, seeds, device=CPU, execution=keeping(tmp_path))
    assert [*map(figures_of, again)] == [*map(figures_of, whole)]


def test_steps_before_a_checkpoint_are_not_taken_again(miniature, inputs_of, tmp_path, monkeypatch):
    experiment = miniature(trainable_layers="all")
    inputs = inputs_of(experiment)
    with pytest.raises(Stop):
        finetune(experiment, inputs, device=CPU, execution=keeping(tmp_path), report=stopping_at(3))
    taken = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *arguments: taken.append(1) or step(self, *arguments))
    result = finetune(experiment, inputs, device=CPU, execution=keeping(tmp_path))
    n_steps = experiment.num_epochs * (len(inputs.dataset.train) // experiment.batch_size)
    assert len(taken) == n_steps - (result.history[2].step + 1)


def test_rows_with_a_frozen_part_leave_no_checkpoints(miniature, inputs_of, tmp_path):
    experiment = miniature()
    with pytest.raises(Stop):
        finetune(experiment, inputs_of(experiment), device=CPU, execution=keeping(tmp_path), report=stopping_at(4))
    assert [*tmp_path.iterdir()] == []


@pytest.fixture
def stopped(miniature, inputs_of, tmp_path):
    """An experiment that stopped after a checkpoint: itself, its inputs, its file, and its figures had it never stopped."""
    experiment = miniature(trainable_layers="all")
    inputs = inputs_of(experiment)
    with pytest.raises(Stop):
        finetune(experiment, inputs, device=CPU, execution=keeping(tmp_path), report=stopping_at(3))
    (path,) = tmp_path.iterdir()
    return experiment, inputs, path, figures_of(finetune(experiment, inputs, device=CPU))


def with_metadata(change):
    """Damages what a file says and seals it anew."""

    def damage(path):
        tensors = load_file(path)
        with gptcore.checkpoint.safe_open(path, framework="pt") as file:
            said = json.loads(file.metadata()["said"])
        said = json.dumps(change(said))
        save_file(tensors, path, {"said": said, "sha256": gptcore.checkpoint.seal(said, tensors)})

    return damage


def flip(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "no checkpoint of this training"),
        (lambda path: path.write_bytes(b""), "no checkpoint of this training"),
        (flip, "damaged or altered"),
        (with_metadata(lambda said: said | {"key": "another"}), "of another training"),
        (with_metadata(lambda said: said | {"course": {"position": 3}}), "no checkpoint of this training"),
        (with_metadata(lambda said: {"key": said["key"]}), "no checkpoint of this training"),
        (lambda path: save_file({"x": torch.ones(1)}, path), "no checkpoint of this training"),
    ],
)
def test_a_damaged_or_foreign_file_is_told_of_and_the_training_starts_anew(stopped, damage, reason):
    experiment, inputs, path, expected = stopped
    damage(path)
    with pytest.warns(UserWarning, match=reason):
        again = finetune(experiment, inputs, device=CPU, execution=keeping(path.parent))
    assert figures_of(again) == expected


@pytest.mark.parametrize("changes", [{"learning_rate": 1e-3}, {"seed": 124}, {"num_epochs": 3}, {"trainable_layers": "lora"}])
def test_a_checkpoint_serves_no_other_experiment(stopped, changes, inputs_of):
    experiment, inputs, path, _ = stopped
    other = dataclasses.replace(experiment, **changes)
    name = f"seed-{other.seed}.safetensors"
    path.rename(path.with_name(name))
    with pytest.warns(UserWarning, match="of another training"):
        again = finetune(other, inputs, device=CPU, execution=keeping(path.parent))
    assert figures_of(again) == figures_of(finetune(other, inputs, device=CPU))


def test_a_disk_that_is_full_ends_no_training(miniature, inputs_of, tmp_path, monkeypatch):
    experiment = miniature(trainable_layers="all", num_epochs=1)
    inputs = inputs_of(experiment)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gptcore.checkpoint, "write_atomically", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        result = finetune(experiment, inputs, device=CPU, execution=keeping(tmp_path))
    assert figures_of(result) == figures_of(finetune(experiment, inputs, device=CPU))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
@pytest.mark.parametrize("place", ["tensors_of", "seal", "save_file"])
def test_no_memory_for_a_checkpoint_ends_no_training(miniature, inputs_of, tmp_path, monkeypatch, error, place):
    experiment = miniature(trainable_layers="all", num_epochs=1)
    inputs = inputs_of(experiment)

    def exhausted(*arguments):
        raise error

    monkeypatch.setattr(gptcore.checkpoint, place, exhausted)
    with pytest.warns(UserWarning, match=rf"seed-123\.safetensors cannot be written \({str(error) or 'memory ran out'}\)"):
        result = finetune(experiment, inputs, device=CPU, execution=keeping(tmp_path))
    monkeypatch.undo()
    assert figures_of(result) == figures_of(finetune(experiment, inputs, device=CPU))
    assert [*tmp_path.iterdir()] == []


def test_what_is_wrong_with_the_program_ends_a_training(miniature, inputs_of, tmp_path, monkeypatch):
    experiment = miniature(trainable_layers="all", num_epochs=1)

    def broken(*arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(gptcore.checkpoint, "tensors_of", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        finetune(experiment, inputs_of(experiment), device=CPU, execution=keeping(tmp_path))


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(gptcore.stopwatch.time, "perf_counter", lambda: now[0])
    return now


def test_the_clock_stands_still_while_a_checkpoint_is_written_and_goes_on_in_another_process(clock, tmp_path, monkeypatch):
    parameters = [torch.ones(3, requires_grad=True)]
    optimizer = torch.optim.AdamW(parameters)
    write = gptcore.checkpoint.write_atomically
    monkeypatch.setattr(gptcore.checkpoint, "write_atomically", lambda path, fill: (clock.__setitem__(0, clock[0] + 1000), write(path, fill)))
    one = Checkpoints(tmp_path, every=10).of("seed-1", "key")
    clock[0] += 7
    one.save_if_due(Course(position=2), parameters, optimizer)
    assert not one.path.exists()
    clock[0] += 5
    one.save_if_due(Course(position=3), parameters, optimizer)
    assert one.path.exists()
    assert one.clock.seconds == 12
    clock[0] += 3
    assert one.clock.seconds == 15
    clock[0] += 10_000
    other = Checkpoints(tmp_path, every=10).of("seed-1", "key")
    clock[0] += 60  # spent on reading
    assert other.restore(parameters, optimizer) == Course(position=3)
    assert other.clock.seconds == 12
    clock[0] += 4
    assert other.clock.seconds == 16


def test_a_course_survives_the_disk(tmp_path):
    parameters = [torch.randn(2, 3, requires_grad=True), torch.zeros(1, requires_grad=True)]
    course = Course(
        position=7,
        events=[[Evaluation(1, 0, 0.1, 0.2, 1e-300)], [EpochAccuracy(1, 1 / 3, 0.5)]],
        first_logits=[(0.1, -2.0)],
        gradient_norms=[0.3],
        batch_losses=[[0.1], [0.7]],
    )
    Checkpoint(tmp_path / "one.safetensors", "key", 0.0).save_if_due(course, parameters, torch.optim.AdamW(parameters))
    assert Checkpoint(tmp_path / "one.safetensors", "key", 0.0).restore(parameters, torch.optim.AdamW(parameters)) == course


def test_random_numbers_go_on_where_they_were(tmp_path):
    parameters = [torch.ones(1, requires_grad=True)]
    optimizer = torch.optim.AdamW(parameters)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        Checkpoint(tmp_path / "one.safetensors", "key", 0.0).save_if_due(Course(), parameters, optimizer)
        expected = torch.rand(4)
        torch.manual_seed(6)
        Checkpoint(tmp_path / "one.safetensors", "key", 0.0).restore(parameters, optimizer)
        assert torch.equal(torch.rand(4), expected)
