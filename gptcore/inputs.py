"""`Inputs`: what an experiment reads - texts, tokenizer, pretrained weights - and the digests that say whether two figures may be compared."""

from dataclasses import dataclass, replace
from pathlib import Path

from gptcore.assets import sha256_of
from gptcore.dataset import Dataset, read_csv_folder
from gptcore.experiment import Experiment, digest_of, settings_of
from gptcore.places import named_folder
from gptcore.sms import load_published_dataset
from gptcore.tokenizer import Tokenizer, gpt2_tokenizer
from gptcore.weights import find_pretrained


@dataclass(frozen=True)
class Inputs:
    """Texts, tokenizer, and the file of pretrained weights (None where the weights are random)."""

    dataset: Dataset
    tokenizer: Tokenizer
    weights: Path | None


@dataclass(frozen=True)
class Sources:
    """Folders a user named instead of the published inputs, and how much of the training split to use."""

    data: Path | None = None
    weights: Path | None = None
    tokenizer: Path | None = None
    limit_train: int | None = None

    def with_environment(self) -> "Sources":
        """The same, with $GPTCORE_WEIGHTS_DIR for the weights where no folder was named.  Raises UsageError for an unknown home folder."""
        return self if self.weights else replace(self, weights=named_folder("GPTCORE_WEIGHTS_DIR"))


def gather_inputs(experiment: Experiment, sources: Sources) -> Inputs:
    """The published data, GPT-2's tokenizer and the pinned weights, each replaced by what `sources` names.  Raises UserError for what is missing."""
    dataset = read_csv_folder(sources.data) if sources.data else load_published_dataset()
    return Inputs(
        dataset=dataset.limit_train(sources.limit_train),
        tokenizer=gpt2_tokenizer(sources.tokenizer),
        weights=find_pretrained(experiment.model_size, sources.weights) if experiment.weights == "pretrained" else None,
    )


def component_digests(experiment: Experiment, inputs: Inputs) -> dict[str, str]:
    """sha256 of each thing a figure depends on: settings, data, tokenizer, weights (where random: of that word)."""
    return {
        "settings": digest_of(settings_of(experiment)),
        "data": inputs.dataset.digest,
        "tokenizer": inputs.tokenizer.digest,
        "weights": sha256_of(inputs.weights) if inputs.weights else digest_of("random"),
    }
