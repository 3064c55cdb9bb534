"""The numbers by which a rerun of the same seed is told from another computation, in the order in which training makes them."""

from bench.results import RowResult
from gptcore.dataset import SplitName
from gptcore.result import Result

Traces = dict[str, tuple[float, ...]]


def traces_of(figures: Result) -> Traces:
    """Every trace of one fine-tuning: named series of plain numbers, those first that a change of the computation reaches first."""
    fingerprint, history, epochs = figures.fingerprint, figures.history, figures.epoch_accuracies
    return {
        "trained_parameters": (float(fingerprint.trained_parameters),),
        "first_logits": fingerprint.first_logits,
        "gradient_norm": tuple(evaluation.gradient_norm for evaluation in history),
        "train_loss": tuple(evaluation.train_loss for evaluation in history),
        "validation_loss": tuple(evaluation.validation_loss for evaluation in history),
        "train_accuracy_of_epochs": tuple(epoch.train_accuracy for epoch in epochs),
        "validation_accuracy_of_epochs": tuple(epoch.validation_accuracy for epoch in epochs),
        "weight_norm": (fingerprint.weight_norm,),
    }


def grain_of(trace: str, result: RowResult, figures: Result) -> float:
    """The step that a trace's numbers come in where they are shares of a few texts, else 0."""
    if not trace.endswith("accuracy_of_epochs"):
        return 0.0
    split: SplitName = "train" if trace.startswith("train") else "validation"
    asked: int = result.settings["batch_size"] * result.settings["eval_iter"]
    return 1 / min(asked, figures.counts[split].n)


def place_of(trace: str, index: int, figures: Result) -> str:
    """Where in the training a trace's number stands, as the end of a sentence."""
    if trace in ("gradient_norm", "train_loss", "validation_loss"):
        return f" at step {figures.history[index].step}"
    if trace.endswith("accuracy_of_epochs"):
        return f" after epoch {figures.epoch_accuracies[index].epoch}"
    return f" (number {index + 1})" if trace == "first_logits" else ""
