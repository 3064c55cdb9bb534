"""A fixed piece of work that tells how fast this machine is today, so that durations on unknown machines can be compared at all."""

import time

import torch
import torch.nn.functional as F

from gptcore.device import reproducible
from gptcore.model import GPT, GPTConfig

WORKLOAD = GPTConfig("calibration", width=64, n_layer=3, n_head=4, vocabulary_size=512, context_length=64)
STEPS = 12
ROUNDS = 3


def calibrate() -> float:
    """Seconds that a dozen training steps of a small GPT take on the CPU, the shortest of three rounds."""
    with reproducible():
        torch.manual_seed(0)
        model = GPT(WORKLOAD)
        tokens = torch.randint(WORKLOAD.vocabulary_size, (8, WORKLOAD.context_length))
        optimizer = torch.optim.AdamW(model.parameters())
        return min(_time_round(model, tokens, optimizer) for _ in range(ROUNDS))


def _time_round(model: GPT, tokens: torch.Tensor, optimizer: torch.optim.Optimizer) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        logits = model(tokens)[:, :-1].flatten(0, 1)  # (B * (T - 1), V)
        F.cross_entropy(logits, tokens[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - started
