"""What trains: parameters, and the way from batches to logits - plain, fast, or fast with several seeds side by side.

Every learner takes one batch per seed and returns one tensor of logits per seed, so that one loop trains them all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from gptcore.batches import Batch
from gptcore.experiment import Experiment
from gptcore.fast import Frozen, HeadAlone, Pooled, Tail
from gptcore.features import Features
from gptcore.model import GPT
from gptcore.readout import read_out

Classify = Callable[[Sequence[Batch]], Sequence[Tensor]]


@dataclass(frozen=True)
class Learner:
    """classify: one batch per seed to one (B, 2) tensor of logits per seed.  parameters: what the optimizer updates, each (S, ...) where several seeds are
    stacked.
    """

    classify: Classify
    parameters: Sequence[Tensor]
    n_stacked: int | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.parameters[0].device

    @property
    def n_trained(self) -> int:
        """How many numbers train, for each seed."""
        return sum(parameter.numel() for parameter in self.parameters) // (self.n_stacked or 1)

    def parameters_of(self, number: int) -> list[Tensor]:
        """The parameters of one of the seeds, in its place of the batches."""
        return [parameter[number] if self.n_stacked else parameter for parameter in self.parameters]

    @torch.no_grad()
    def norms(self, tensors: Iterable[Tensor | None]) -> list[float]:
        """Each seed's Euclidean norm over all of its parameters, or of their gradients, where they are there."""
        per_tensor = [torch.linalg.vector_norm(tensor.view(self.n_stacked or 1, -1), dim=1) for tensor in tensors if tensor is not None]
        norms: list[float] = torch.linalg.vector_norm(torch.stack(per_tensor), dim=0).tolist()  # (S,)
        return norms

    def in_precision(self, precision: str) -> "Learner":
        """The same with matrix products in `precision`; weights, gradients, updates and logits stay in float32."""
        if precision != "bf16":
            return self

        def classify_in_bf16(batches: Sequence[Batch]) -> list[Tensor]:
            # Entered anew each time: autocast keeps the weights it has cast until it ends, and they change at every step.
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                return [logits.float() for logits in self.classify(batches)]

        return replace(self, classify=classify_in_bf16)


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that train, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def plain_learner(model: GPT, experiment: Experiment) -> Learner:
    """The straightforward way: every batch through the whole network, all positions."""

    def classify(batches: Sequence[Batch]) -> list[Tensor]:
        return [read_out(model(batch.tokens), batch, experiment) for batch in batches]

    return Learner(classify, [*trainable(model).values()])


def fast_learner(model: GPT, experiment: Experiment, depth: int, features: Features | None, *, compiled: bool) -> Learner:
    """The lowest `depth` blocks from features, the rest only where the answer needs it."""
    source, trained = split_at(depth, model, experiment, features)
    on_cuda = model.token_embedding.weight.device.type == "cuda"
    # CUDA graphs, which "reduce-overhead" stands for, replay the many small kernels of a step as one.
    run: Callable[..., Tensor] = torch.compile(trained, mode="reduce-overhead" if on_cuda else None) if compiled and depth else trained

    def classify(batches: Sequence[Batch]) -> list[Tensor]:
        return [run(source(batch), batch.position) for batch in batches]

    return Learner(classify, [*trainable(model).values()])


def stacked_learner(models: Iterable[GPT], experiment: Experiment, depth: int, features: Features | None) -> Learner:
    """Several models that differ only in what trains, side by side: each trainable parameter stacked, (S, ...), all else read from the first model."""
    models = iter(models)  # one at a time: of all but the first only what trains is kept
    first = next(models)
    source, trained = split_at(depth, first, experiment, features)
    own = [trainable(trained), *(trainable(split_at(depth, model, experiment, features)[1]) for model in models)]
    stacks = {name: torch.stack([of_seed[name] for of_seed in own]).detach().requires_grad_() for name in own[0]}

    def logits_of(parameters: Mapping[str, Tensor], states: Tensor, position: Tensor) -> Tensor:
        logits: Tensor = functional_call(trained, dict(parameters), (states, position))
        return logits

    def classify(batches: Sequence[Batch]) -> Sequence[Tensor]:
        joined = source(join(batches))
        states = joined.view(len(batches), -1, *joined.shape[1:])  # (S, B, ...)
        positions = torch.stack([batch.position for batch in batches])  # (S, B)
        with sdpa_kernel(SDPBackend.MATH):  # the one attention kernel that vmap can batch
            return vmap(logits_of)(stacks, states, positions).unbind()

    return Learner(classify, [*stacks.values()], len(own))


def split_at(depth: int, model: GPT, experiment: Experiment, features: Features | None) -> tuple[Callable[[Batch], Tensor], nn.Module]:
    """What stays the same for a batch, and the module that makes logits of it and of the batch's positions."""
    frozen = Frozen(model, depth, features)
    tail = Tail(model, depth, average=experiment.average_embeddings)
    if experiment.trainable_layers == "last_layer" and features:
        return Pooled(frozen, tail, len(features.need.rows)), HeadAlone(model)
    return frozen, tail


def join(batches: Sequence[Batch]) -> Batch:
    """Batches as one, filled up on the right where their rows differ in length."""
    width = max(batch.tokens.shape[1] for batch in batches)
    return Batch(
        tokens=torch.cat([F.pad(batch.tokens, (0, width - batch.tokens.shape[1])) for batch in batches]),
        position=torch.cat([batch.position for batch in batches]),
        labels=torch.cat([batch.labels for batch in batches]),
        rows=torch.cat([batch.rows for batch in batches]),
    )
