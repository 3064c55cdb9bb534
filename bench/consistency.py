"""What no run writes of a row, though each part of it may be as it should: words for the middle of a sentence, empty where nothing is wrong."""

import re
from collections.abc import Mapping
from typing import Any

from bench.bounds import DIGEST
from bench.documents import name_of
from gptcore.dataset import SPLITS
from gptcore.errors import UserError
from gptcore.experiment import digest_of, experiment_of, settings_of
from gptcore.result import Result


def problem_of_settings(seed: int, settings: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """What is wrong with a row's settings: they make an experiment, the one of its seed and of its digest."""
    try:
        known = settings_of(experiment_of(settings))
    except (UserError, KeyError, TypeError, ValueError, ArithmeticError):
        known = None
    if known != settings:
        return "settings: they make no experiment"
    if seed != settings["seed"]:
        return f"seed: {seed} is not that of the settings, {settings['seed']}"
    if digests and digests.get("settings") != digest_of(settings):
        return "digests.settings: it is of other settings"
    strange = [name for name, digest in digests.items() if not re.fullmatch(DIGEST, digest)]
    return f"digests.{name_of((strange[0],))}: it is no sha256" if strange else ""


def problem_of_seeds(own: int, figures: Result | None, others: Mapping[int, Result], error: str | None) -> str:
    """What is wrong with a row's seeds: they follow each other without a gap once all are there, and read the same texts."""
    found = sorted(others)
    if found and (found[0] <= own or (error is None and found != [*range(own + 1, own + 1 + len(found))])):
        return f"others: seeds {', '.join(map(str, found[:5]))} beside seed {own} were never asked for"
    everything = [*([figures] if figures else ()), *others.values()]
    sizes = {(len(one.attestation.batch_losses), *(one.answers[split].n for split in SPLITS)) for one in everything}
    return "others: its seeds had other batches or texts" if len(sizes) > 1 else ""
