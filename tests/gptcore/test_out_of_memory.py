import errno
import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError

import gptcore.__main__
import gptcore.memory
from gptcore.errors import UsageError
from gptcore.execution import Execution
from gptcore.experiment import Experiment
from gptcore.features import FrozenStates
from gptcore.memory import resident_peak
from gptcore.model import GPT2_SIZES
from gptcore.out_of_memory import OutOfMemoryError, check_memory, is_out_of_memory, needed_memory, smaller_budget

CPU = torch.device("cpu")
needs_linux = pytest.mark.skipif(resident_peak() is None or not gptcore.memory.OWN_PEAK_RESET.exists(), reason="only Linux tells a peak that can be reset")


# What says that memory ran out


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"),
        RuntimeError("unable to mmap 4000 bytes from file <states>: Cannot allocate memory (12)"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        SafetensorError("Error while mapping: Cannot allocate memory (os error 12)"),
    ],
    ids=str,
)
def test_every_way_to_run_out_of_memory_is_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("out of memory"),
        UsageError("out of memory"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_nothing_else_is_taken_for_it(error):
    assert not is_out_of_memory(error)


def test_torchs_own_refusal_on_a_cpu_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.int8)
    assert is_out_of_memory(caught.value)


# What an experiment needs


def test_an_experiment_that_cannot_fit_is_refused_in_one_sentence(machine):
    machine()
    with pytest.raises(OutOfMemoryError) as caught:
        check_memory(Experiment(trainable_layers="all"), CPU, "choose a smaller one")
    said = str(caught.value)
    assert said.startswith(
        "there is too little memory: gpt2-small (124M) with all training needs at least 1.9 GiB, and cpu has 10 MiB in all, 8 MiB of them free"
    )
    assert said.endswith("; choose a smaller one")
    assert "\n" not in said


def test_without_any_word_from_the_system_nothing_is_refused(monkeypatch):
    monkeypatch.setattr("gptcore.out_of_memory.total_memory", lambda device: None)
    check_memory(Experiment(model_size=GPT2_SIZES["gpt2-xl (1558M)"], trainable_layers="all"), CPU, "do without")


def test_needed_memory_counts_weights_gradients_and_moments():
    """GPT-2 small has 124,439,808 weights; 1,538 more in the head."""
    everything = 124_439_808 + 1538
    one_token = 8 * 768 * (1 + 16 * 11)
    assert needed_memory(Experiment(trainable_layers="all")) == 4 * 4 * everything
    assert needed_memory(Experiment(trainable_layers="all"), longest=120) == 4 * (3 * everything + 120 * one_token)
    assert needed_memory(Experiment(trainable_layers="all", accumulation_steps=2)) == 4 * (4 * everything + one_token)
    assert needed_memory(Experiment(trainable_layers="last_layer")) == 4 * (everything + 2 * 1538 + 8 * 768)
    assert needed_memory(Experiment(trainable_layers="last_block")) == 4 * (everything + 3 * (7_087_872 + 1536 + 1538))


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"trainable_layers": "all", "batch_size": 16}, {"trainable_layers": "all"}),
        ({"trainable_layers": "all", "context_length": "1024"}, {"trainable_layers": "all", "context_length": "1023"}),
        ({"trainable_layers": "all", "context_length": "model_context_length"}, {"trainable_layers": "all", "context_length": "512"}),
        ({"average_embeddings": True}, {}),
        ({"trainable_layers": "last_two_blocks"}, {}),
        ({"trainable_layers": "lora", "lora_rank": 16}, {"trainable_layers": "lora", "lora_rank": 8}),
        ({"trainable_layers": "all"}, {"trainable_layers": "all", "precision": "bf16"}),
        ({"accumulation_steps": 2}, {}),
    ],
    ids=str,
)
def test_whatever_takes_memory_adds_to_it(more, less):
    assert needed_memory(Experiment(**more), longest=120) > needed_memory(Experiment(**less), longest=120)


def test_asking_draws_no_random_number():
    state = torch.get_rng_state()
    needed_memory(Experiment(trainable_layers="lora"))
    assert torch.equal(torch.get_rng_state(), state)


# Trains models of 14 million weights, and prints what they need by our word and the peak beyond the start.
TRAINING = """
import json, random, sys
import torch
from gptcore import Dataset, Experiment, GPTConfig, Inputs, Split, byte_tokenizer, finetune
from gptcore.memory import resident_memory, watch_memory
from gptcore.out_of_memory import needed_memory

torch.set_num_threads(1)
draw = random.Random(1)
split = Split(tuple("".join(draw.choices("abcdef", k=30)) for _ in range(8)), (0, 1) * 4)
config = GPTConfig("some", width=384, n_layer=8, n_head=6, vocabulary_size=257, context_length=256)
experiment = Experiment(model_size=config, weights="random", num_epochs=2, eval_iter=1, batch_size=8, **json.loads(sys.argv[1]))
inputs, cpu = Inputs(Dataset(split, split, split), byte_tokenizer(), None), torch.device("cpu")
finetune(experiment, inputs, device=cpu)  # loads libraries and warms allocators
peak, before = watch_memory(cpu), resident_memory()
finetune(experiment, inputs, device=cpu)
print(needed_memory(experiment, longest=30), peak() - before)
"""


@needs_linux
@pytest.mark.parametrize(
    "settings",
    [
        {"trainable_layers": "all"},
        {"trainable_layers": "last_block"},
        pytest.param({"trainable_layers": "all", "context_length": "model_context_length"}, marks=pytest.mark.slow),
        pytest.param({"trainable_layers": "lora", "context_length": "model_context_length"}, marks=pytest.mark.slow),
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_needed_memory_is_a_lower_bound_and_at_least_half_of_what_is_measured(settings):
    """In a process of its own: what other tests left in the allocator would serve the training, and not rise."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", TRAINING, json.dumps(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    needed, measured = map(int, done.stdout.split())
    assert needed <= measured <= 2 * needed, f"needed {needed / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB"


# When it runs out


def test_the_budget_is_halved_and_then_nothing(capsys):
    assert smaller_budget(None, 1000, Experiment(), CPU, "stop") == 500
    assert smaller_budget(500, 500, Experiment(), CPU, "stop") == 0
    assert capsys.readouterr().err.count("memory ran out with ") == 2
    for budget, held in ((None, 0), (500, 0), (0, 0), (0, 10)):
        with pytest.raises(OutOfMemoryError, match=r"memory ran out.* needs at least .*; stop$"):
            smaller_budget(budget, held, Experiment(), CPU, "stop")


@pytest.fixture
def train(miniature, inputs_of):
    """Trains a miniature as the command line does; keyword arguments are the experiment's."""

    def run(seeds=(123,), **settings):
        experiment = miniature(**settings)
        options = SimpleNamespace(save=None)
        return gptcore.__main__.train(experiment, inputs_of(experiment), seeds, CPU, Execution(), options)

    return run


@pytest.fixture
def failing(monkeypatch):
    """Lets the first trainings run out of memory in their midst; returns, of each, where its states were and a weak reference to them."""
    attempts = []
    real = gptcore.__main__.finetune_seeds

    def fail_first(n_times, error=torch.OutOfMemoryError):
        def finetune_seeds(*arguments, states, report, **keywords):
            attempts.append((states.place if states else None, weakref.ref(states) if states else None))

            def report_or_fail(event):
                if len(attempts) <= n_times:
                    raise error("CUDA out of memory")
                report(event)

            return real(*arguments, states=states, report=report_or_fail, **keywords)

        monkeypatch.setattr(gptcore.__main__, "finetune_seeds", finetune_seeds)
        return attempts

    return fail_first


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_states_on_disk_rescue_a_training_and_change_no_figure(train, failing, capsys, error):
    (undisturbed,) = train()
    attempts = failing(1, error)
    (rescued,) = train()
    assert [place for place, _ in attempts] == ["memory", "disk"]
    assert (rescued.history, rescued.answers, rescued.margins) == (undisturbed.history, undisturbed.answers, undisturbed.margins)
    assert rescued.attestation == undisturbed.attestation
    assert "of frozen states in it: trying again with" in capsys.readouterr().err


def test_what_a_failed_attempt_held_is_gone_before_the_next(train, failing, monkeypatch):
    attempts = failing(1)
    gone = []
    allocate = FrozenStates.__init__

    def look_first(states, *arguments, **keywords):
        gone.extend(reference() is None for _, reference in attempts)
        allocate(states, *arguments, **keywords)

    monkeypatch.setattr(FrozenStates, "__init__", look_first)
    gc.disable()  # counting references must be enough, or the release must collect by itself
    try:
        train()
    finally:
        gc.enable()
    assert gone == [True]


def test_where_nothing_is_left_to_try_one_sentence_says_what_helps(train, failing):
    attempts = failing(9)
    with pytest.raises(
        OutOfMemoryError, match=r"memory ran out, with the states of the frozen part on disk, too: .*--batch_size.*--memory-budget 0$"
    ) as caught:
        train()
    assert "\n" not in str(caught.value)
    assert len(attempts) == 2
    with pytest.raises(OutOfMemoryError, match="memory ran out: "):
        train(trainable_layers="all")
    assert len(attempts) == 3


def test_other_errors_are_not_tried_again(train, failing):
    attempts = failing(9, KeyError)
    with pytest.raises(KeyError):
        train()
    assert len(attempts) == 1
