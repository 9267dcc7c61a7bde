"""Similar left and right rows of the output convolutions are found and moved apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ehrpose.config import load_config, resolve
from ehrpose.models.heads import AEHead, SingleLevelAEHead
from ehrpose.models.weights.mirror_pairs import pair_likeness, separate_pairs

KNEES, ANKLES = (13, 14), (15, 16)
NUM_PAIRS = 8


class Model(nn.Module):
    """A head under its name in the estimator."""

    def __init__(self, levels: int = 2):
        super().__init__()
        torch.manual_seed(3)
        codec = dict(resolve(load_config("configs/ehrnet/h-4_coco-384.py")).codec)
        if levels == 2:
            self.head = AEHead(12, codec, num_blocks=1, init_std=None)
        else:
            self.head = SingleLevelAEHead(12, dict(codec, strides=(4,)), init_std=None)


@pytest.fixture(autouse=True)
def _in_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def alike(model, pair, difference):
    """Make both rows of a pair the same, except for a difference in one of them."""
    for output in (model.head.output4, model.head.output2):
        with torch.no_grad():
            output.weight[pair[1]] = output.weight[pair[0]]
            output.weight[pair[1], :2] += difference * output.weight[pair[0]].norm()
    return model


def rows(tensors, name, pair):
    weight = tensors[name].double().flatten(1)
    return weight[pair[0]], weight[pair[1]]


def test_likeness_of_each_pair_and_output():
    model = alike(Model(), KNEES, 0.0)
    found = pair_likeness(model, model.state_dict())
    assert [pair.output for pair in found] == NUM_PAIRS * ["head.output4.weight"] + NUM_PAIRS * [
        "head.output2.weight"
    ]
    assert [(pair.left, pair.right) for pair in found[:NUM_PAIRS]] == [(k, k + 1) for k in range(1, 17, 2)]
    for pair in found:
        assert abs(pair.cosine) <= 1 + 1e-12
        assert (pair.cosine > 0.999) == ((pair.left, pair.right) == KNEES)
    single = Model(levels=1)
    assert len(pair_likeness(single, single.state_dict())) == NUM_PAIRS


def test_alike_pairs_move_apart_along_their_difference():
    model = alike(Model(), KNEES, 0.01)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after, moved = separate_pairs(model, model.state_dict(), above=0.9, apart=0.5)
    assert {(pair.left, pair.right) for pair in moved} == {KNEES}
    assert len(moved) == 2
    for name in ("head.output4.weight", "head.output2.weight"):
        (left, right), (new_left, new_right) = rows(before, name, KNEES), rows(after, name, KNEES)
        mean = (left + right) / 2
        torch.testing.assert_close((new_left + new_right) / 2, mean, rtol=1e-5, atol=1e-9)
        torch.testing.assert_close((new_left - new_right).norm(), mean.norm(), rtol=1e-5, atol=1e-9)
        cosine = torch.nn.functional.cosine_similarity(new_left - new_right, left - right, dim=0)
        assert cosine > 0.9999
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)  # the input is unchanged
        same = after[name] == tensor
        assert same.all() or (
            name in {pair.output for pair in moved} and same.flatten(1).all(1).sum() == len(same) - 2
        )


def test_equal_pairs_get_a_direction_and_halves_keep_their_type():
    model = alike(alike(Model(), KNEES, 0.0), ANKLES, 0.0).half()
    after, moved = separate_pairs(model, model.state_dict(), apart=0.25)
    assert {(pair.left, pair.right) for pair in moved} == {KNEES, ANKLES}
    assert after["head.output2.weight"].dtype == torch.float16
    differences = []
    for pair in (KNEES, ANKLES):
        left, right = rows(after, "head.output2.weight", pair)
        assert abs((left - right).norm() / ((left + right) / 2).norm() - 0.5) < 5e-3
        assert abs((left - right) @ (left + right)) < 5e-3 * left.norm() ** 2
        differences.append(left - right)
    assert torch.nn.functional.cosine_similarity(*differences, dim=0) < 0.99
    again, _ = separate_pairs(model, model.state_dict(), apart=0.25)
    assert all(torch.equal(again[name], after[name]) for name in after)


def test_features_get_their_gradient_back():
    """At the saddle point the features get no gradient to tell left from right; away from it they do."""
    model = alike(Model(), KNEES, 0.0)
    after, _ = separate_pairs(model, model.state_dict())

    def sides(weight):
        # One left and one right knee whose features are still the same.
        features = torch.ones(1, 12, 1, 2, requires_grad=True)
        maps = nn.functional.conv2d(features, weight[list(KNEES)])
        target = torch.eye(2).view(1, 2, 1, 2)
        ((maps - target) ** 2).sum().backward()
        return features.grad[0, :, 0, 0] - features.grad[0, :, 0, 1]

    weights = model.head.output2.weight.detach()
    assert not sides(weights).any()
    assert sides(after["head.output2.weight"]).norm() > 0.1 * weights[KNEES[0]].norm()


def test_errors_say_what_was_expected():
    model = Model()
    with pytest.raises(ValueError, match=r"cosine, -1 to 1, got 1\.5"):
        separate_pairs(model, model.state_dict(), above=1.5)
    with pytest.raises(ValueError, match="positive and finite, got 0"):
        separate_pairs(model, model.state_dict(), apart=0)
    with pytest.raises(ValueError, match=r"lack head\.output4\.weight.*another model"):
        pair_likeness(model, {"head.output2.weight": model.head.output2.weight})
    model.head = nn.Identity()
    with pytest.raises(ValueError, match="Identity has no heatmap outputs"):
        pair_likeness(model, {})
