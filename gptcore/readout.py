"""From the head's output at every position to one pair of logits per text.  (SPEC §5)"""

import torch
from torch import Tensor

from gptcore.batches import Batch
from gptcore.experiment import Experiment


def read_out(logits: Tensor, batch: Batch, experiment: Experiment) -> Tensor:
    """logits: (B, T, 2).  Returns (B, 2): at each text's position, or the mean over all positions, padding included."""
    if experiment.average_embeddings:
        return logits.mean(dim=1)
    return logits[torch.arange(len(logits), device=logits.device), batch.position]
