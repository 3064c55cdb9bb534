"""The same inputs with initial weights that differ in their last bits: what another machine's rounding does, made on purpose."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.tiers import Tier
from gptcore.device import reproducible
from gptcore.experiment import Experiment
from gptcore.inputs import Inputs, Sources
from gptcore.weights import random_gpt, to_hugging_face


def perturbed_tier(tier: Tier, relative: float, seed: int) -> Tier:
    """The tier with every initial weight multiplied by 1 + relative * e, e standard normal and drawn after seeding.

    Random weights are perturbed as well, so they come from a file, too; all such files last as long as this process.
    """
    folder = Path(tempfile.mkdtemp(prefix="perturbed-weights-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def write(name: str, tensors: Callable[[], dict[str, Tensor]]) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            save_file(perturbed(tensors(), relative, seed), path)
        return path

    def gather(experiment: Experiment, sources: Sources) -> Inputs:
        inputs = tier.gather(experiment, sources)
        original = inputs.weights
        if original:
            return replace(inputs, weights=write(experiment.model_size.name, lambda: load_file(original)))
        return replace(inputs, weights=write(f"{experiment.model_size.name} random {experiment.seed}", lambda: random_weights(experiment)))

    return replace(tier, gather=cache(gather))


def random_weights(experiment: Experiment) -> dict[str, Tensor]:
    """The random initial weights of an experiment, under Hugging Face's names."""
    with reproducible():
        return to_hugging_face(random_gpt(experiment.model_size, causal=True, seed=experiment.seed))


def perturbed(tensors: dict[str, Tensor], relative: float, seed: int) -> dict[str, Tensor]:
    """The tensors in float32, each number multiplied by 1 + relative * e."""
    generator = torch.Generator().manual_seed(seed)

    def one(tensor: Tensor) -> Tensor:
        return (tensor.double() * (1 + relative * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))).float()

    return {name: one(tensor) for name, tensor in tensors.items()}
