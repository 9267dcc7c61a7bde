from __future__ import annotations

import numpy as np
import pytest
import torch

from ehrpose.models.losses import AELoss, HeatmapLoss, SideLoss
from ehrpose.registry import CODECS, MODELS


def plain_ae_loss(tags, index):
    """The definition with loops: tags (B, T, K, H*W), index (B, P, K)."""
    pulls, pushes = [], []
    for image, people in zip(tags, index):
        means, spreads = [], []
        for person in people:
            found = [image[:, k, i] for k, i in enumerate(person) if i >= 0]
            if found:
                mean = np.mean(found, axis=0)
                means.append(mean)
                spreads.append(np.mean([((t - mean) ** 2).sum() for t in found]))
        n = len(means)
        pulls.append(np.mean(spreads) if n else 0.0)
        total = sum(
            np.exp(-((a - b) ** 2).sum()) for i, a in enumerate(means) for j, b in enumerate(means) if i != j
        )
        pushes.append(0.5 * total / (n * (n - 1)) if n > 1 else 0.0)
    return np.mean(pulls), np.mean(pushes)


@pytest.mark.parametrize("tag_dim", [1, 3])
def test_ae_loss_equals_its_definition(rng, tag_dim):
    tags = rng.normal(0, 1, (4, tag_dim, 5, 8, 8)).astype(np.float32)
    index = rng.integers(-1, 64, (4, 6, 5))
    index[0] = -1  # no person
    index[1, 1:] = -1  # one person
    index[2, ::2] = -1  # empty slots between people
    pull, push = AELoss(1.0, 1.0)(torch.from_numpy(tags.reshape(4, -1, 8, 8)), torch.from_numpy(index))
    expected = plain_ae_loss(tags.reshape(4, tag_dim, 5, 64), index)
    assert (float(pull), float(push)) == pytest.approx(expected, rel=1e-5)


def test_a_radius_counts_the_pixels_around_each_keypoint(rng):
    tags = rng.normal(0, 1, (2, 1, 5, 8, 8)).astype(np.float32)
    index = rng.integers(-1, 64, (2, 3, 5))
    wide = [[[] for _ in range(3)] for _ in range(2)]
    for b, p in np.ndindex(2, 3):
        for k in range(5):
            y, x = divmod(int(index[b, p, k]), 8)
            around = (
                [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)] if index[b, p, k] >= 0 else []
            )
            wide[b][p] += [(k, 8 * i + j) for i, j in around if 0 <= i < 8 and 0 <= j < 8]
    # In the definition each pixel is a keypoint of a separate type, with the map of its own type.
    pull, push = [], []
    for b in range(2):
        kinds = [k for person in wide[b] for k, _ in person]
        places = np.full((1, 3, len(kinds)), -1)
        at = 0
        for p, person in enumerate(wide[b]):
            for _, pixel in person:
                places[0, p, at] = pixel
                at += 1
        one = plain_ae_loss(tags[b : b + 1, :, kinds].reshape(1, 1, len(kinds), 64), places)
        pull.append(one[0])
        push.append(one[1])
    found = AELoss(1.0, 1.0, radius=1)(torch.from_numpy(tags.reshape(2, 5, 8, 8)), torch.from_numpy(index))
    assert [float(value) for value in found] == pytest.approx([np.mean(pull), np.mean(push)], rel=1e-5)
    with pytest.raises(ValueError, match="radius"):
        AELoss(radius=-1)


def test_equal_tags_are_a_saddle_of_push_and_bf16_is_computed_in_float32():
    tags = torch.zeros(2, 5, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    index = torch.arange(10).view(1, 2, 5).repeat(2, 1, 1) % 16
    pull, push = AELoss(1.0, 1.0)(tags, index)
    assert push.dtype == torch.float32
    assert float(push) == 0.5
    assert float(pull) == 0
    (pull + push).backward()
    assert float(tags.grad.abs().max()) == 0


def test_weights_are_factors():
    tags = torch.randn(2, 5, 4, 4)
    index = torch.randint(0, 16, (2, 3, 5))
    one, other = AELoss(1.0, 1.0)(tags, index), AELoss(1e-3, 2e-3)(tags, index)
    torch.testing.assert_close(other[0], one[0] * 1e-3)
    torch.testing.assert_close(other[1], one[1] * 2e-3)


def test_masked_pixels_do_not_count_in_the_heatmap_loss():
    predicted, target = torch.rand(2, 5, 4, 4), torch.rand(2, 5, 4, 4)
    mask = torch.ones(2, 4, 4)
    whole = HeatmapLoss()(predicted, target, mask)
    torch.testing.assert_close(whole, ((predicted - target) ** 2).mean())
    mask[:, :2] = 0
    half = HeatmapLoss()(predicted, target, mask)
    torch.testing.assert_close(half, ((predicted - target)[:, :, 2:] ** 2).sum() / predicted.numel())
    assert float(HeatmapLoss(weight=3.0)(predicted, target, mask)) == pytest.approx(3 * float(half))


def test_each_level_may_have_a_heatmap_loss_of_its_own(five_keypoints):
    codec = {"type": "AssociativeEmbedding", "input_size": 32, "keypoints": five_keypoints}

    def losses(heatmap_loss):
        torch.manual_seed(0)
        head = MODELS.build(
            {"type": "AEHead", "in_channels": 4, "codec": codec, "heatmap_loss": heatmap_loss}
        )
        targets = CODECS.build(codec).encode(np.full((1, 5, 2), 16.0), np.full((1, 5), 2))
        batch = {name: torch.from_numpy(target)[None] for name, target in targets.items()}
        return head.loss(head(torch.rand(1, 4, 8, 8)), batch)

    plain, apart = losses(None), losses([{"type": "HeatmapLoss"}, {"type": "HeatmapLoss", "weight": 4.0}])
    torch.testing.assert_close(apart["loss_heat4"], plain["loss_heat4"], rtol=0, atol=0)
    torch.testing.assert_close(apart["loss_heat2"], 4 * plain["loss_heat2"])
    with pytest.raises(
        ValueError, match=r"heatmap_loss has 1 entries, expected one, or one for each stride \(4, 2\)"
    ):
        losses([{"type": "HeatmapLoss"}])


def test_positive_weight_counts_the_error_on_a_person_more():
    predicted, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
    plain = HeatmapLoss()(predicted, target, torch.ones(1, 2, 2))
    weighted = HeatmapLoss(positive_weight=10.0)(predicted, target, torch.ones(1, 2, 2))
    assert float(plain) == pytest.approx((1 + 0.25) / 4)
    assert float(weighted) == pytest.approx((1 * 11 + 0.25 * 6) / 4)
    with pytest.raises(ValueError, match="positive_weight"):
        HeatmapLoss(positive_weight=-1)


FLIP = (0, 2, 1)  # a middle type, and a pair
SIDES = {
    "dataset_name": "sides",
    "names": ["nose", "left_eye", "right_eye"],
    "swap": [["left_eye", "right_eye"]],
    "skeleton": [["nose", "left_eye"], ["nose", "right_eye"]],
    "sigmas": [0.1, 0.1, 0.1],
}


def plain_side_loss(heatmaps, index, scale, radius, apart):
    """The definition with loops: heatmaps (B, 3, h, w), index (B, P, 3)."""
    height, width = heatmaps.shape[2:]
    total, right, shares = 0.0, 0.0, 0.0
    for image, people in zip(heatmaps, index):
        for person in people:
            for own, mirror in ((1, 2), (2, 1)):
                if person[own] < 0:
                    continue
                y, x = divmod(int(person[own]), width)
                around = np.s_[
                    max(y - radius, 0) : min(y + radius + 1, height),
                    max(x - radius, 0) : min(x + radius + 1, width),
                ]
                d = (image[own][around] - image[mirror][around]).mean()
                others = [divmod(int(other[mirror]), width) for other in people if other[mirror] >= 0]
                nearest = min(((y - v) ** 2 + (x - u) ** 2 for v, u in others), default=np.inf)
                share = 1 - np.exp(-nearest / (2 * apart**2))
                total += share * np.log1p(np.exp(-scale * d))
                right += share * (d > 0)
                shares += share
    return total / shares, right / shares


@pytest.mark.parametrize("radius", [0, 2])
def test_side_loss_equals_its_definition(rng, radius):
    heatmaps = rng.normal(0, 0.3, (3, 3, 9, 7)).astype(np.float32)
    index = rng.integers(0, 63, (3, 4, 3))
    index[0, 1:] = -1  # one person
    index[1, 2, 1] = index[1, 0, 2] = -1  # with only one side labelled
    index[2, 3, 2] = index[2, 1, 1]  # one's left on another's right
    loss = SideLoss(weight=0.5, scale=4.0, radius=radius, apart=2.0)
    found = loss(torch.from_numpy(heatmaps), torch.from_numpy(index), FLIP)
    expected, right = plain_side_loss(heatmaps, index, 4.0, radius, 2.0)
    assert [float(value) for value in found] == pytest.approx([0.5 * expected, right], rel=1e-5)


def test_side_loss_leaves_the_saddle_of_equal_heatmaps():
    """Features tell the sides apart, output rows are equal: the squared error gives the features no gradient."""
    torch.manual_seed(0)
    features = torch.randn(1, 4, 8, 8, requires_grad=True)
    rows = torch.randn(1, 4).repeat(3, 1).requires_grad_()
    index = torch.tensor([[[5, 18, 45]]])
    optimizer = torch.optim.SGD([features, rows], lr=1.0)
    loss = SideLoss(weight=1.0, radius=0)
    first = float(loss(torch.einsum("kc,bchw->bkhw", rows, features), index, FLIP)[0])
    assert first == pytest.approx(np.log(2), rel=1e-6)
    for _ in range(50):
        optimizer.zero_grad()
        value, right = loss(torch.einsum("kc,bchw->bkhw", rows, features), index, FLIP)
        value.backward()
        optimizer.step()
    assert float(value) < 0.1 * first
    assert float(right) == 1


def test_side_loss_without_keypoints_or_pairs_is_zero():
    heatmaps = torch.rand(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    absent = torch.full((2, 5, 3), -1)
    value, right = SideLoss()(heatmaps, absent, FLIP)
    assert value.dtype == torch.float32
    assert (float(value), float(right)) == (0, 0)
    value.backward()
    assert heatmaps.grad.isfinite().all()
    # Left and right at one place: both maps must be high there.
    together = torch.tensor([[[3, 20, 20]], [[3, 9, 9]]])
    assert float(SideLoss()(heatmaps, together, FLIP)[0]) == 0
    assert float(SideLoss()(heatmaps, torch.zeros(2, 5, 3, dtype=torch.int64), (0, 1, 2))[0]) == 0


@pytest.mark.parametrize(
    "options", [{"weight": -1}, {"scale": 0}, {"apart": float("nan")}, {"radius": -1}, {"radius": 0.5}]
)
def test_side_loss_refuses_values_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SideLoss(**options)


@pytest.mark.parametrize("strides", [(4, 2), (4,), (2,)])
def test_the_head_adds_the_side_loss_of_each_level(rng, strides):
    kind = "AEHead" if len(strides) == 2 else "SingleLevelAEHead"
    maps_of = [f"heat{stride}" for stride in strides]
    codec = CODECS.build(
        {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": SIDES, "strides": strides,
         "tag_strides": strides[:1]}
    )  # fmt: skip
    plain, head = (
        MODELS.build({"type": kind, "in_channels": 8, "codec": codec, "side_loss": side_loss})
        for side_loss in (None, {"type": "SideLoss", "weight": 0.25})
    )
    head.load_state_dict(plain.state_dict())
    keypoints = rng.uniform(8, 56, (2, 3, 2)).astype(np.float32)
    targets = codec.encode(keypoints, np.ones((2, 3), bool))
    batch = {name: torch.as_tensor(np.asarray(value))[None] for name, value in targets.items()}
    batch |= {f"mask{s}": torch.ones(1, 64 // s, 64 // s) for s in strides}
    maps = head(torch.randn(1, 8, 16, 16))
    losses, without = head.loss(maps, batch), plain.loss(maps, batch)
    assert set(losses) - set(without) == {"loss_side", "acc_side"}
    assert all(torch.equal(losses[name], without[name]) for name in without)
    expected, right = 0.0, -1.0
    for name in maps_of:
        cells, index = (64 // strides[0],) * 2, batch[f"tag_index{strides[0]}"]
        heatmaps = torch.nn.functional.interpolate(getattr(maps, name), cells, mode="area")
        loss, right = map(float, head.side_loss(heatmaps, index, FLIP))
        expected += loss
    assert float(losses["loss_side"]) == pytest.approx(expected, rel=1e-5)
    assert float(losses["acc_side"]) == pytest.approx(right)
    half = maps._replace(**{name: getattr(maps, name).bfloat16() for name in maps_of})
    assert head.loss(half, batch)["loss_side"].dtype == torch.float32
    with pytest.raises(ValueError, match="side_loss has no type"):
        MODELS.build({"type": kind, "in_channels": 8, "codec": codec, "side_loss": {"weight": 1e-3}})


def test_a_batch_without_masked_pixels_has_the_loss_of_the_masked_form():
    predicted = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    loss = HeatmapLoss(weight=4.0)(predicted, target, torch.ones(2, 8, 8, dtype=torch.uint8))
    (gradient,) = torch.autograd.grad(loss, predicted)
    expected = 4.0 * ((predicted - target) ** 2).mean()
    (expected_gradient,) = torch.autograd.grad(expected, predicted)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_side_loss_of_the_pixels_is_that_of_pooled_maps(radius):
    flip, apart = [0, 2, 1], 1.5
    maps = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(2))
    # Corners, a missing keypoint, an empty slot.
    index = torch.tensor([[[0, 0, 62], [31, 8, 54]], [[5, 20, -1], [-1, -1, -1]]])
    loss, right = SideLoss(1.0, 5.0, radius, apart)(maps, index, flip)
    size = 2 * radius + 1
    pooled = torch.nn.functional.avg_pool2d(maps, size, 1, radius, count_include_pad=False).flatten(2)
    total = hits = weights = 0.0
    for image, people in enumerate(index.tolist()):
        for person in people:
            for own, mirror in ((1, 2), (2, 1)):
                if person[own] < 0:
                    continue
                y, x = divmod(person[own], 9)
                others = [divmod(other[mirror], 9) for other in people if other[mirror] >= 0]
                square = min(((y - v) ** 2 + (x - u) ** 2 for v, u in others), default=float("inf"))
                share = 1 - float(torch.exp(torch.tensor(-square / (2 * apart**2))))
                higher = pooled[image, own, person[own]] - pooled[image, mirror, person[own]]
                total += share * float(torch.nn.functional.softplus(-5.0 * higher))
                hits += share * bool(higher > 0)
                weights += share
    assert float(loss) == pytest.approx(total / weights, rel=1e-5)
    assert float(right) == pytest.approx(hits / weights, rel=1e-5)
