"""GPT-2, whole: configuration, attention, block, network.  (Radford et al. 2019; SPEC §3)

Notation here and everywhere: B batch, T tokens, D width, H heads, E head width, V vocabulary, R LoRA rank, N examples, S seeds side by side.
Linear layers are built in the order query, key, value, output, up, down, because random initialisation draws in that order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptcore.errors import UsageError


@dataclass(frozen=True)
class GPTConfig:
    """The size of one GPT."""

    name: str
    width: int
    n_layer: int
    n_head: int
    vocabulary_size: int = 50257
    context_length: int = 1024

    def __post_init__(self) -> None:
        sizes = ("width", "n_layer", "n_head", "vocabulary_size", "context_length")
        if too_small := [name for name in sizes if getattr(self, name) < 1]:
            raise UsageError(f"{too_small[0]} {getattr(self, too_small[0])} of {self.name} is too small: give at least 1")
        if self.width % self.n_head:
            raise UsageError(f"width {self.width} of {self.name} is not a multiple of its {self.n_head} heads: change one of the two")


GPT2_SIZES = {
    config.name: config
    for config in (
        GPTConfig("gpt2-small (124M)", width=768, n_layer=12, n_head=12),
        GPTConfig("gpt2-medium (355M)", width=1024, n_layer=24, n_head=16),
        GPTConfig("gpt2-large (774M)", width=1280, n_layer=36, n_head=20),
        GPTConfig("gpt2-xl (1558M)", width=1600, n_layer=48, n_head=25),
    )
}


class Attention(nn.Module):
    """Multi-head self-attention; with `causal=False` every token attends to every token, padding included."""

    def __init__(self, config: GPTConfig, causal: bool) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.causal = causal
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (B, T, D), already normalised.  Returns (B, T, D)."""
        batch, tokens, width = hidden.shape
        query, key, value = (part.view(batch, tokens, self.n_head, -1).transpose(1, 2) for part in self.project(hidden))  # (B, H, T, E)
        context = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)  # (B, H, T, E)
        output: Tensor = self.output(context.transpose(1, 2).reshape(batch, tokens, width))  # (B, T, D)
        return output

    def project(self, hidden: Tensor) -> Sequence[Tensor]:
        """hidden: (B, T, D).  Returns query, key and value, (B, T, D) each, from one matrix product where they are frozen and have no adapters.

        Where they train, joining them and parting their gradients again costs more than it spares.
        """
        linears = (self.query, self.key, self.value)
        if any(not isinstance(linear, nn.Linear) or linear.weight.requires_grad for linear in linears):
            return [linear(hidden) for linear in linears]
        weight, bias = (torch.cat([getattr(linear, name) for linear in linears]) for name in ("weight", "bias"))  # (3D, D), (3D,)
        return F.linear(hidden, weight, bias).chunk(3, dim=-1)


class MLP(nn.Module):
    """Two linear layers, four times the width between them, GELU in its tanh form."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (B, T, D).  Returns (B, T, D)."""
        down: Tensor = self.down(F.gelu(self.up(hidden), approximate="tanh"))
        return down


class Block(nn.Module):
    """Pre-LayerNorm transformer block."""

    def __init__(self, config: GPTConfig, causal: bool) -> None:
        super().__init__()
        self.attention = Attention(config, causal)
        self.mlp = MLP(config)
        self.attention_norm = nn.LayerNorm(config.width, eps=1e-5)
        self.mlp_norm = nn.LayerNorm(config.width, eps=1e-5)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (B, T, D).  Returns (B, T, D)."""
        hidden = hidden + self.attention(self.attention_norm(hidden))
        output: Tensor = hidden + self.mlp(self.mlp_norm(hidden))
        return output


class GPT(nn.Module):
    """The network.  It is built with a vocabulary head (no bias); a classifier replaces `head` by its own."""

    def __init__(self, config: GPTConfig, causal: bool = True) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.position_embedding = nn.Embedding(config.context_length, config.width)
        self.blocks = nn.ModuleList(Block(config, causal) for _ in range(config.n_layer))
        self.final_norm = nn.LayerNorm(config.width, eps=1e-5)
        self.head: nn.Module = nn.Linear(config.width, config.vocabulary_size, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (B, T) int64, T at most the context length.  Returns the head's output at every position: (B, T, V) or (B, T, 2)."""
        hidden = self.embed(tokens)
        for block in self.blocks:
            hidden = block(hidden)
        logits: Tensor = self.head(self.final_norm(hidden))
        return logits

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens: (B, T) int64.  Returns the first block's input, (B, T, D)."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        embedded: Tensor = self.token_embedding(tokens) + self.position_embedding(positions)
        return embedded
