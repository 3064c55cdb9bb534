"""A block's output at one position only, without forming a single key or value.

For one query q the scores q·(W_k h_t + b_k) are (W_k^T q)·h_t plus a number that is the same for every t, which softmax ignores; and the
context is W_v (sum of weights * h_t) + b_v, since the weights sum to one.  The LayerNorm's scale and shift move out of both sums for the same reasons, so
that nothing asks for a gradient of all positions where the block stands on frozen states.  Exact mathematics; only the rounding differs.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptcore.lora import LoRALinear
from gptcore.model import Attention, Block


def block_at(position: Tensor, hidden: Tensor, block: Block) -> Tensor:
    """The block's output at one position of each text.

    position: (B,) int64.  hidden: (B, T, D) block input.  Returns (B, D), equal to `block(hidden)[arange(B), position]` up to rounding.
    """
    texts = torch.arange(len(hidden), device=hidden.device)
    residual = hidden[texts, position]  # (B, D)
    norm = block.attention_norm
    standardized = F.layer_norm(hidden, norm.normalized_shape, eps=norm.eps)  # (B, T, D)
    residual = residual + attend_from(position, standardized, norm, block.attention)
    output: Tensor = residual + block.mlp(block.mlp_norm(residual))
    return output


def attend_from(position: Tensor, standardized: Tensor, norm: nn.LayerNorm, attention: Attention) -> Tensor:
    """Attention's output at one position of each text; a causal one sees the tokens up to there, any other all of them.

    position: (B,) int64.  standardized: (B, T, D), the block's input with mean 0 and variance 1, before `norm` scales and shifts it.  Returns (B, D).
    """
    batch, tokens, width = standardized.shape
    n_head = attention.n_head
    head_width = width // n_head
    texts = torch.arange(batch, device=standardized.device)
    query = attention.query(standardized[texts, position] * norm.weight + norm.bias).view(batch, n_head, head_width)  # (B, H, E)
    key_weight, _ = weight_and_bias(attention.key)
    folded_query = torch.einsum("bhe,hed->bhd", query, key_weight.view(n_head, head_width, width)) * norm.weight  # (B, H, D)
    scores = folded_query @ standardized.transpose(1, 2) / math.sqrt(head_width)  # (B, H, T)
    if attention.causal:
        later = torch.arange(tokens, device=standardized.device) > position[:, None]  # (B, T)
        scores = scores.masked_fill(later[:, None], -math.inf)
    mixed = scores.softmax(dim=-1) @ standardized * norm.weight + norm.bias  # (B, H, D)
    value_weight, value_bias = weight_and_bias(attention.value)
    context = torch.einsum("bhd,hed->bhe", mixed, value_weight.view(n_head, head_width, width)).reshape(batch, width)  # (B, D)
    output: Tensor = attention.output(context + value_bias)
    return output


def weight_and_bias(linear: nn.Module) -> tuple[Tensor, Tensor]:
    """The weight (out, in) and bias (out,) that a linear layer, with or without an adapter, applies."""
    if isinstance(linear, LoRALinear):
        return linear.merged_weight(), linear.linear.bias
    if isinstance(linear, nn.Linear):
        return linear.weight, linear.bias
    raise TypeError(f"{type(linear).__name__} is no linear layer")
