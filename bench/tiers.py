"""Two tiers, each a pure function from a row's experiment to the experiment that runs, and where that one's inputs come from.

Smoke and full differ in nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.bounds import TierName
from bench.smoke.messages import smoke_dataset
from bench.smoke.miniatures import miniature, weights_of
from bench.smoke.tokenizer import smoke_tokenizer
from gptcore.experiment import Experiment
from gptcore.inputs import Inputs, Sources, gather_inputs


@dataclass(frozen=True)
class Tier:
    """One size of the whole table.

    scale: from a row's experiment to the one that runs.  gather: what that one reads, of folders that a person may name where it takes_sources.
    threads: None for torch's own choice.  recorded_seeds: how many a baseline is made of, and records_repeats: whether it measures the spread of rounding,
    where nobody says otherwise.
    """

    name: TierName
    about: str
    scale: Callable[[Experiment], Experiment]
    gather: Callable[[Experiment, Sources], Inputs]
    takes_sources: bool = False
    default_device: str = "cpu"
    threads: int | None = 1  # the quickest for miniatures, and sums come out the same whatever the number of cores
    recorded_seeds: int = 20
    records_repeats: bool = True


def full_size(experiment: Experiment) -> Experiment:
    """The experiment as published."""
    return experiment


def embedded_inputs(experiment: Experiment, sources: Sources) -> Inputs:  # noqa: ARG001 - every tier is asked the same way
    """The miniature world's inputs, whatever the sources."""
    return Inputs(
        dataset=smoke_dataset(),
        tokenizer=smoke_tokenizer(),
        weights=weights_of(experiment.model_size) if experiment.weights == "pretrained" else None,
    )


TIERS: dict[str, Tier] = {
    tier.name: tier
    for tier in (
        Tier(
            "smoke",
            "miniature GPTs on embedded texts, CPU, half a minute",
            miniature,
            embedded_inputs,
        ),
        Tier(
            "full",
            "GPT-2 on the SMS Spam Collection, as published",
            full_size,
            gather_inputs,
            takes_sources=True,
            default_device="auto",
            threads=None,
            recorded_seeds=1,
            records_repeats=False,
        ),
    )
}
