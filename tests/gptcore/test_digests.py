import hashlib

import pytest
import torch

from gptcore.digests import digest_of_tensors

NUMBERS = torch.tensor([[1.0, -2.0], [0.5, 3.0]])


def test_the_digest_is_the_sha256_of_types_shapes_and_bits():
    expected = hashlib.sha256(b"torch.float32 [2, 2] " + NUMBERS.numpy().tobytes() + b"torch.int64 [1] " + (7).to_bytes(8, "little"))
    assert digest_of_tensors([NUMBERS, torch.tensor([7])]) == expected.hexdigest()


def test_how_a_tensor_lies_in_memory_does_not_matter():
    assert digest_of_tensors([NUMBERS.T.contiguous().T.requires_grad_()]) == digest_of_tensors([NUMBERS])


@pytest.mark.parametrize("other", [NUMBERS.flatten(), NUMBERS.double(), NUMBERS.flip(0), torch.nextafter(NUMBERS, NUMBERS + 1), -NUMBERS])
def test_any_other_bits_shape_or_type_make_another_digest(other):
    assert digest_of_tensors([other]) != digest_of_tensors([NUMBERS])


def test_zeros_of_either_sign_differ():
    assert digest_of_tensors([torch.tensor([0.0])]) != digest_of_tensors([torch.tensor([-0.0])])
