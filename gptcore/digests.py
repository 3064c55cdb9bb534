"""sha256 of tensors: one short string that says whether two computations agree bit for bit."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def digest_of_tensors(tensors: Iterable[Tensor]) -> str:
    """sha256 (hexadecimal) over the types, shapes and bits of tensors, in their order, wherever they lie."""
    digest = hashlib.sha256()
    for tensor in tensors:
        stored = tensor.detach().cpu().contiguous()
        digest.update(f"{stored.dtype} {list(stored.shape)} ".encode())
        digest.update(stored.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
