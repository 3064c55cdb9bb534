"""gptcore: fine-tune a GPT as a two-class text classifier, exactly as described and repeatably."""

from gptcore.errors import AssetError, DataError, TrainingError, UsageError, UserError
from gptcore.experiment import Experiment
from gptcore.inputs import Inputs, Sources, gather_inputs
from gptcore.model import GPT, GPT2_SIZES, GPTConfig
from gptcore.result import Result
from gptcore.training import finetune

__all__ = [
    "GPT",
    "GPT2_SIZES",
    "AssetError",
    "DataError",
    "Experiment",
    "GPTConfig",
    "Inputs",
    "Result",
    "Sources",
    "TrainingError",
    "UsageError",
    "UserError",
    "finetune",
    "gather_inputs",
]
