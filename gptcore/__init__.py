"""gptcore: fine-tune a GPT as a two-class text classifier, exactly as described and repeatably.

An experiment: `Experiment` says what is done, `GPTConfig` (or one of `GPT2_SIZES`) of which size; `finetune` does it and returns a `Result`.
What it reads: `Inputs`, made of a `Dataset` (`read_csv_folder`), a `Tokenizer` (`gpt2_tokenizer`, `byte_tokenizer`, `make_tokenizer`) and a file of weights;
`gather_inputs` fetches the published ones, or takes the folders that `Sources` names.
What comes of it: `finetune_classifier` returns the `Classifier` as well; `save_classifier`, `load_classifier`, `export_classifier`, `export_parts`.
Every error that a person can mend is a `UserError`; its text says how.

>>> import torch
>>> texts = Split(("win cash now", "see you soon", "a free prize", "on my way") * 4, (1, 0, 1, 0) * 4)
>>> inputs = Inputs(Dataset(texts, texts, texts, classes=("ham", "spam")), byte_tokenizer(), weights=None)
>>> tiny = GPTConfig("tiny", width=16, n_layer=2, n_head=2, vocabulary_size=257, context_length=16)
>>> experiment = Experiment(model_size=tiny, weights="random", trainable_layers="all", learning_rate=1e-2)
>>> result, classifier = finetune_classifier(experiment, inputs, device=torch.device("cpu"))
>>> result.counts["test"]
Count(right=16, n=16)
>>> [answer.name for answer in classifier.classify(["a free prize", "see you soon"])]
['spam', 'ham']
"""

# ruff: noqa: E402 - before anything that takes long
from gptcore.starting import start_quietly

start_quietly()

from gptcore.answers import Answers, Count
from gptcore.classifier import Classification, Classifier
from gptcore.dataset import Dataset, Split, read_csv_folder
from gptcore.device import pick_device
from gptcore.errors import AssetError, DataError, TrainingError, UsageError, UserError
from gptcore.execution import Execution
from gptcore.experiment import Experiment
from gptcore.export import export_classifier, export_parts
from gptcore.inputs import Inputs, Sources, gather_inputs
from gptcore.model import GPT, GPT2_SIZES, GPTConfig
from gptcore.result import EpochAccuracy, Evaluation, Event, Result
from gptcore.saved import load_classifier, save_classifier
from gptcore.tokenizer import Tokenizer, byte_tokenizer, gpt2_tokenizer, make_tokenizer, read_ranks
from gptcore.training import finetune, finetune_classifier, finetune_seeds

__all__ = [
    "GPT",
    "GPT2_SIZES",
    "Answers",
    "AssetError",
    "Classification",
    "Classifier",
    "Count",
    "DataError",
    "Dataset",
    "EpochAccuracy",
    "Evaluation",
    "Event",
    "Execution",
    "Experiment",
    "GPTConfig",
    "Inputs",
    "Result",
    "Sources",
    "Split",
    "Tokenizer",
    "TrainingError",
    "UsageError",
    "UserError",
    "byte_tokenizer",
    "export_classifier",
    "export_parts",
    "finetune",
    "finetune_classifier",
    "finetune_seeds",
    "gather_inputs",
    "gpt2_tokenizer",
    "load_classifier",
    "make_tokenizer",
    "pick_device",
    "read_csv_folder",
    "read_ranks",
    "save_classifier",
]
