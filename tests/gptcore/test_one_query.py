import pytest
import torch

from gptcore.lora import add_lora
from gptcore.model import Block
from gptcore.one_query import block_at

POSITION = torch.tensor([8, 0, 5, 3])


@pytest.fixture(params=[True, False], ids=["causal", "no mask"])
def block(tiny, request):
    torch.manual_seed(1)
    return Block(tiny, causal=request.param).double()  # double precision shows that the mathematics is exact


@pytest.fixture
def hidden(tiny):
    return torch.randn(4, 9, tiny.width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("adapters", [None, False, True], ids=["linear", "LoRA", "merged LoRA"])
def test_one_position_equals_the_whole_block_and_so_do_all_gradients(block, hidden, adapters):
    if adapters is not None:
        add_lora(block, rank=2, alpha=3, merged=adapters)
        for name, parameter in block.named_parameters():
            if name.endswith(".B"):
                torch.nn.init.normal_(parameter)
        block.double()
    whole = block(hidden)[torch.arange(4), POSITION]
    one = block_at(POSITION, hidden, block)
    torch.testing.assert_close(one, whole, atol=1e-10, rtol=1e-10)
    names, parameters = zip(*block.named_parameters(), strict=True)
    of_whole = torch.autograd.grad(whole.square().sum(), parameters)
    of_one = torch.autograd.grad(one.square().sum(), parameters, allow_unused=True)
    for name, expected, found in zip(names, of_whole, of_one, strict=True):
        if name in ("attention.key.bias", "attention.key.linear.bias"):
            assert found is None  # no softmax over keys depends on it
            torch.testing.assert_close(expected, torch.zeros_like(expected), atol=1e-8, rtol=0)
        else:
            torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-8, msg=name)


def test_what_stands_behind_a_causal_position_is_never_read(tiny, hidden):
    block = Block(tiny, causal=True).double()
    changed = hidden.clone()
    for text, position in enumerate(POSITION):
        changed[text, position + 1 :] = 7
    assert torch.equal(block_at(POSITION, hidden, block), block_at(POSITION, changed, block))


def test_something_that_is_no_linear_layer_is_refused(tiny, hidden):
    block = Block(tiny, causal=True).double()
    block.attention.key = torch.nn.Identity()
    with pytest.raises(TypeError, match="Identity is no linear layer"):
        block_at(POSITION, hidden, block)
