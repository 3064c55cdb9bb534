"""From a language model to a classifier: which parameters train.  (SPEC §3-4)"""

import torch
from torch import nn

from gptcore.experiment import Experiment
from gptcore.lora import add_lora
from gptcore.model import GPT

N_CLASSES = 2


def make_classifier(model: GPT, experiment: Experiment) -> None:
    """Freeze `model`, give it a fresh two-class head and unfreeze what the experiment trains, all in place.

    Reseeds torch's global generator with the experiment's seed right before the head is drawn; LoRA's matrices follow without reseeding.
    """
    model.requires_grad_(False)
    torch.manual_seed(experiment.seed)
    model.head = nn.Linear(model.config.width, N_CLASSES)
    match experiment.trainable_layers:
        case "last_layer":
            pass
        case "last_block":
            unfreeze_last_blocks(model, 1)
        case "last_two_blocks":
            unfreeze_last_blocks(model, 2)
        case "all":
            model.requires_grad_(True)
        case "lora" | "lora_alternative":
            add_lora(model, experiment.lora_rank, experiment.lora_alpha, merged=experiment.trainable_layers == "lora_alternative")


def frozen_blocks(experiment: Experiment) -> int:
    """How many blocks lie below everything that trains; the last block is never counted, since it is computed at one position only."""
    above = {"last_layer": 1, "last_block": 1, "last_two_blocks": 2}
    n_layer = experiment.model_size.n_layer
    return n_layer - above.get(experiment.trainable_layers, n_layer)


def unfreeze_last_blocks(model: GPT, n_blocks: int) -> None:
    """Make the last `n_blocks` blocks and the final LayerNorm trainable."""
    for block in model.blocks[-n_blocks:]:
        block.requires_grad_(True)
    model.final_norm.requires_grad_(True)
