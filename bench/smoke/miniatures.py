"""Four miniature GPTs in the place of the published sizes, and the scale of an experiment on them."""

from dataclasses import replace
from pathlib import Path

from bench.smoke.tokenizer import N_MERGES
from gptcore.errors import AssetError, UsageError
from gptcore.experiment import LONGEST_TRAINING_EXAMPLE, MODEL_CONTEXT_LENGTH, Experiment
from gptcore.model import GPTConfig

WEIGHTS_FOLDER = Path(__file__).with_name("weights")

VOCABULARY_SIZE = 256 + N_MERGES + 1
CONTEXT_LENGTH = 120

MINIATURES = {
    "gpt2-small (124M)": GPTConfig("miniature-small", 52, 3, 4, VOCABULARY_SIZE, CONTEXT_LENGTH),
    "gpt2-medium (355M)": GPTConfig("miniature-medium", 56, 4, 4, VOCABULARY_SIZE, CONTEXT_LENGTH),
    "gpt2-large (774M)": GPTConfig("miniature-large", 60, 5, 4, VOCABULARY_SIZE, CONTEXT_LENGTH),
    "gpt2-xl (1558M)": GPTConfig("miniature-xl", 64, 6, 4, VOCABULARY_SIZE, CONTEXT_LENGTH),
}

# A miniature trains for a sixth of the published steps, so each must be larger.  From about twice this factor on the last steps throw single rows about.
LEARNING_RATE_FACTOR = 18.0
EPOCHS_FACTOR = 2 / 5
EVAL_FREQ_FACTOR = 2 / 5
LORA_FACTOR = 1 / 4


def weights_of(config: GPTConfig) -> Path:
    """The committed file of a miniature's pretrained weights.  Raises AssetError where there is none."""
    path = WEIGHTS_FOLDER / f"{config.name}.safetensors"
    if not path.is_file():
        raise AssetError(f"{path} is missing: restore it from version control, or make it with `python -m bench.smoke.make weights --only {config.name}`")
    return path


def miniature(experiment: Experiment) -> Experiment:
    """The experiment at the miniature's scale: what a row changes stays changed, by the same factor as its default.

    Raises UsageError for a model that has no miniature.
    """
    if experiment.model_size.name not in MINIATURES:
        raise UsageError(f"{experiment.model_size.name} has no miniature: choose one of {', '.join(MINIATURES)}")
    return replace(
        experiment,
        model_size=MINIATURES[experiment.model_size.name],
        learning_rate=experiment.learning_rate * LEARNING_RATE_FACTOR,
        num_epochs=scaled(experiment.num_epochs, EPOCHS_FACTOR),
        eval_freq=scaled(experiment.eval_freq, EVAL_FREQ_FACTOR),
        lora_rank=scaled(experiment.lora_rank, LORA_FACTOR),
        lora_alpha=scaled(experiment.lora_alpha, LORA_FACTOR),
        context_length=scaled_context_length(experiment),
    )


def scaled(number: int, factor: float) -> int:
    """The number times the factor, rounded, at least 1."""
    return max(1, round(number * factor))


def scaled_context_length(experiment: Experiment) -> str:
    """The context length: a name as it is, a number as the same share of the model's context."""
    if experiment.context_length in (LONGEST_TRAINING_EXAMPLE, MODEL_CONTEXT_LENGTH):
        return experiment.context_length
    return str(scaled(int(experiment.context_length), CONTEXT_LENGTH / experiment.model_size.context_length))
