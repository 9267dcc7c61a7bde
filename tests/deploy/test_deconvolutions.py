"""Transposed convolutions written as plain ones."""

import pytest
import torch
from torch import nn

from ehrpose.deploy.export.deconvolutions import FourConvs, replace_deconvolutions


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 4)])
def test_four_convolutions_are_the_transposed_one(bias, size):
    torch.manual_seed(0)
    deconv = nn.ConvTranspose2d(5, 3, 4, 2, 1, bias=bias)
    x = torch.randn(2, 5, *size)
    torch.testing.assert_close(FourConvs(deconv)(x), deconv(x), rtol=0, atol=1e-5)


def test_only_doubling_ones_are_replaced():
    kept = [nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2), nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1)]
    network = nn.Sequential(nn.ConvTranspose2d(4, 4, 4, 2, 1), *kept)
    replace_deconvolutions(network)
    assert isinstance(network[0], FourConvs)
    assert [network[1], network[2]] == kept
