"""Which experiments share a frozen part, and its states for them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch

from gptcore.assets import sha256_of
from gptcore.batches import EncodedSplit, encode_dataset
from gptcore.dataset import SplitName
from gptcore.device import arithmetic_of
from gptcore.execution import Execution
from gptcore.experiment import Experiment, digest_of
from gptcore.features import FrozenStates, Need
from gptcore.freezing import frozen_blocks
from gptcore.inputs import Inputs
from gptcore.memory import free_memory


def need_of(experiment: Experiment, inputs: Inputs) -> Need:
    """What an experiment reads of its frozen part.  Raises UsageError for texts it cannot use."""
    return need_in(encode_dataset(inputs.dataset, experiment, inputs.tokenizer, needed_only=True), experiment)


def need_in(splits: Mapping[SplitName, EncodedSplit], experiment: Experiment) -> Need:
    """The same of splits that are encoded already, with `needed_only`."""
    return Need.of(splits, frozen_blocks(experiment), experiment.eval_iter * experiment.batch_size)


def own_states(experiment: Experiment, inputs: Inputs, *, device: torch.device, execution: Execution) -> FrozenStates | None:
    """Frozen states of one experiment, for all its seeds; None where nothing is frozen, or all goes through the whole network."""
    if execution.plain or not frozen_blocks(experiment):
        return None
    return share_states([need_of(experiment, inputs)], experiment, inputs, device=device, execution=execution)


def share_states(needs: Sequence[Need], experiment: Experiment, inputs: Inputs, *, device: torch.device, execution: Execution) -> FrozenStates:
    """Frozen states for the needs of experiments with one `frozen_identity`, of which `experiment` is any; nothing is computed yet."""
    return FrozenStates(
        needs,
        experiment.model_size.width,
        causal=not experiment.disable_causal_mask,
        device=device,
        memory_budget=free_memory(device) // 2 if execution.memory_budget is None else execution.memory_budget,
        cache=execution.cache,
        identity=frozen_identity(experiment, inputs, device),
    )


def frozen_identity(experiment: Experiment, inputs: Inputs, device: torch.device) -> str:
    """Digest of all that the bits of a frozen state depend on, besides its tokens and depth."""
    return digest_of(
        {
            "weights": sha256_of(inputs.weights) if inputs.weights else experiment.seed,
            "model": asdict(experiment.model_size),
            "causal": not experiment.disable_causal_mask,
            "precision": experiment.precision,
            **arithmetic_of(device),
        }
    )
