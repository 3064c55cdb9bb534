"""A finetuned GPT that classifies texts, each exactly as the training saw it: cut, padded and read at the same position."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from gptcore.batches import Batch, encode_rows, row_length
from gptcore.device import float32_products, reproducible
from gptcore.errors import DataError
from gptcore.experiment import Experiment
from gptcore.inputs import Inputs, component_digests
from gptcore.learner import plain_learner
from gptcore.model import GPT
from gptcore.tokenizer import Tokenizer

TEXTS_AT_ONCE = 32


@dataclass(frozen=True)
class Classification:
    """What a classifier says of one text.  label: 0 or 1.  name: what people call that class.  probability: of class 1.  logits: of classes 0 and 1."""

    label: int
    name: str
    probability: float
    logits: tuple[float, float]


@dataclass(frozen=True)
class Classifier:
    """A trained GPT with all it takes to use it.

    length: tokens that every text is cut and padded to, None where each keeps its own length.  classes: what people call the classes 0 and 1.
    digests: sha256 of the settings, data, tokenizer and initial weights it was trained with.
    """

    model: GPT
    experiment: Experiment
    tokenizer: Tokenizer
    length: int | None
    classes: tuple[str, str]
    digests: Mapping[str, str]

    def __post_init__(self) -> None:
        # Frozen layers may be computed in another order than those that train: the same before it is saved and after, or logits would differ in rounding.
        self.model.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.token_embedding.weight.device

    def classify(self, texts: Iterable[str]) -> Iterator[Classification]:
        """One answer per text, in order, a few dozen texts read ahead.  Raises as `logits` does."""
        texts, n_before = iter(texts), 0
        while chunk := [*islice(texts, TEXTS_AT_ONCE)]:
            for logits in self._logits(chunk, n_before):
                label = int(logits.argmax())
                first, second = logits.tolist()
                yield Classification(label, self.classes[label], float(logits.double().softmax(dim=0)[1]), (first, second))
            n_before += len(chunk)

    def logits(self, texts: Sequence[str]) -> Tensor:
        """The logits of both classes, (N, 2) float32 on the CPU.

        Raises DataError for an empty text, UsageError for one that is longer than the model's context where nothing is cut.
        """
        chunks = [self._logits(texts[start : start + TEXTS_AT_ONCE], start) for start in range(0, len(texts), TEXTS_AT_ONCE)]
        return torch.cat([torch.empty(0, 2), *chunks])

    @torch.no_grad()
    def _logits(self, texts: Sequence[str], n_before: int) -> Tensor:
        for number, text in enumerate(texts, start=n_before + 1):
            if not text.strip():
                raise DataError(f"text {number} is empty: leave it out")
        rows, positions = encode_rows([self.tokenizer.encode(text) for text in texts], self.length, self.experiment, self.tokenizer.pad_token)
        together = [slice(0, len(rows))] if self.length else [slice(index, index + 1) for index in range(len(rows))]
        # TF32 is a way to be fast on a GPU; elsewhere the full product is nearer to what was meant.
        precision = "fp32" if self.experiment.precision == "tf32" and self.device.type != "cuda" else self.experiment.precision
        learner = plain_learner(self.model, self.experiment).in_precision(precision)
        with reproducible(), float32_products(precision):
            return torch.cat([learner.classify([batch_of(rows[chosen], positions[chosen]).to(self.device)])[0].cpu() for chosen in together])


def batch_of(rows: Sequence[Sequence[int]], positions: Sequence[int]) -> Batch:
    """Rows of one length as a batch whose labels mean nothing."""
    return Batch(torch.tensor(rows), torch.tensor(positions), labels=torch.zeros(len(rows), dtype=torch.int64), rows=torch.arange(len(rows)))


def make_trained(model: GPT, experiment: Experiment, inputs: Inputs) -> Classifier:
    """The classifier that an experiment on these inputs trained."""
    length = row_length([inputs.tokenizer.encode(text) for text in inputs.dataset.train.texts], experiment)
    return Classifier(model, experiment, inputs.tokenizer, length, inputs.dataset.classes, component_digests(experiment, inputs))
