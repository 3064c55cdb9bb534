"""Low-rank adapters on linear layers.  (Hu et al. 2021, without their division by the rank; SPEC §4)"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """A linear layer plus `alpha * (x @ A @ B)`.  A: (in, R) kaiming-uniform with a=sqrt(5); B: (R, out) zeros, so it starts as the layer it wraps."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear
        self.alpha = alpha
        self.A = nn.Parameter(torch.empty(linear.in_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.B = nn.Parameter(torch.zeros(rank, linear.out_features))

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (..., in).  Returns (..., out)."""
        rows = hidden.flatten(0, -2)  # (N, in)
        output = torch.addmm(self.linear(rows), rows @ self.A, self.B, alpha=self.alpha)  # (N, out)
        return output.view(*hidden.shape[:-1], -1)  # (..., out)

    def merged_weight(self) -> Tensor:
        """One weight that does what layer and adapter do together, W + alpha * (A B)^T: (out, in)."""
        return self.linear.weight + self.alpha * (self.A @ self.B).T


class MergedLoRALinear(LoRALinear):
    """The same function computed with the merged weight."""

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (..., in).  Returns (..., out)."""
        return F.linear(hidden, self.merged_weight(), self.linear.bias)


def without_adapters(module: nn.Module) -> dict[str, Tensor]:
    """The parameters by the names they have without adapters, what an adapter adds merged into its layer's weight."""
    if isinstance(module, LoRALinear):
        return {"weight": module.merged_weight(), "bias": module.linear.bias}
    parameters: dict[str, Tensor] = dict(module.named_parameters(recurse=False))
    for name, child in module.named_children():
        parameters |= {f"{name}.{inner}": parameter for inner, parameter in without_adapters(child).items()}
    return parameters


def add_lora(module: nn.Module, rank: int, alpha: float, *, merged: bool = False) -> None:
    """Wrap every `nn.Linear` below `module` in place, drawing the A matrices in module order from the global random generator."""
    adapter = MergedLoRALinear if merged else LoRALinear
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, adapter(child, rank, alpha))
        else:
            add_lora(child, rank, alpha, merged=merged)
