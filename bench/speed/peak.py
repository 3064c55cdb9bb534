"""How fast this machine multiplies matrices: the yardstick for what the rows reach."""

import time

import torch

from gptcore.device import synchronize

SHAPES = ((960, 768, 3072), (2048, 768, 3072), (2048, 2048, 2048))
ACCELERATOR_SHAPES = (*SHAPES, (8192, 8192, 8192))  # smaller ones leave a part of it idle


def matmul_peak(device: torch.device, dtype: torch.dtype = torch.float32, *, rounds: int = 12) -> float:
    """The machine's measured matrix-product peak in FLOP/s, the yardstick: the best of several rounds over products of GPT-2's sizes.

    float32 products are as exact as torch is set to make them.
    """
    shapes = SHAPES if device.type == "cpu" else ACCELERATOR_SHAPES
    return max(_best_rate(shape, device, dtype, rounds) for shape in shapes)


def _best_rate(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype, rounds: int) -> float:
    rows, inner, columns = shape
    generator = torch.Generator(device).manual_seed(0)
    left = torch.randn(rows, inner, generator=generator, device=device, dtype=dtype)
    right = torch.randn(inner, columns, generator=generator, device=device, dtype=dtype)
    product = torch.empty(rows, columns, device=device, dtype=dtype)
    return 2 * rows * inner * columns / min(_time_product(left, right, product) for _ in range(rounds))


def _time_product(left: torch.Tensor, right: torch.Tensor, product: torch.Tensor) -> float:
    synchronize(product.device)
    started = time.perf_counter()
    torch.mm(left, right, out=product)
    synchronize(product.device)
    return time.perf_counter() - started
