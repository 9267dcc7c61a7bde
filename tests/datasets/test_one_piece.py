"""Batches arrive from workers as they were made, in one piece."""

from __future__ import annotations

import pickle
from importlib import import_module

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader, Dataset

from ehrpose.datasets import one_piece
from ehrpose.datasets.one_piece import OnePiece


class Items(Dataset):
    """Items of tensors of all kinds, in samples, lists and dicts."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, 20, 12 + index), generator=generator).to(torch.uint8)
        # Found where pickle looks for it: other tests may load the module anew.
        sample = import_module("ehrpose.data_sample").PoseDataSample(
            metainfo={"img_id": index, "warp": np.full((2, 3), index / 3)}
        )
        sample.gt_targets = {
            "points": torch.randn(4, 3, generator=generator),
            "tags": torch.arange(5) * index,
            "mask": image[0] > 128,
            "none": torch.zeros(0, 7, dtype=torch.float64),
            "one": torch.tensor(float(index), dtype=torch.bfloat16),
            "turned": image.permute(2, 1, 0)[::2],
        }
        return {"inputs": [image, image], "data_samples": sample, "words": ["a", index]}


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    if type(a).__name__ == "PoseDataSample":
        return equal(a.gt_targets, b.gt_targets) and equal(a.metainfo, b.metainfo)
    return a == b


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("collate", [pseudo_collate, list])
def test_batches_arrive_as_they_were_made(workers, collate):
    expected = list(DataLoader(Items(), 2, collate_fn=collate))
    got = list(DataLoader(Items(), 2, collate_fn=OnePiece(collate), num_workers=workers))
    assert len(got) == 3
    for a, b in zip(expected, got):
        assert equal(a, b)
    image = got[0]["inputs"][0][0] if collate is pseudo_collate else got[0][0]["inputs"][0]
    image.fill_(7)
    assert not equal(expected[0], got[0]), "the comparison sees a difference"


def test_a_batch_is_one_shared_tensor(monkeypatch):
    monkeypatch.setattr(one_piece, "get_worker_info", lambda: "a worker")
    batch = OnePiece(pseudo_collate)([Items()[i] for i in range(4)])
    rebuild, (description, piece) = batch.__reduce__()
    assert piece.is_shared()
    assert piece.numel() < 4 * 6000
    assert len(description) < 4000
    assert equal(rebuild(description, piece), pseudo_collate([Items()[i] for i in range(4)]))


def test_one_tensor_twice_is_sent_once_and_arrives_as_one(monkeypatch):
    monkeypatch.setattr(one_piece, "get_worker_info", lambda: "a worker")
    tensor = torch.arange(100)
    rebuild, (description, piece) = OnePiece(list)([tensor, tensor]).__reduce__()
    assert piece.numel() < 2 * 800
    first, second = rebuild(description, piece)
    first[0] = 5
    assert second[0] == 5


def test_tensors_that_are_not_plain_memory_travel_as_before(monkeypatch):
    monkeypatch.setattr(one_piece, "get_worker_info", lambda: "a worker")
    items = [torch.ones(3, requires_grad=True), torch.eye(3).to_sparse(), torch.nn.Parameter(torch.ones(2))]
    rebuild, (description, piece) = OnePiece(list)(items).__reduce__()
    got = rebuild(description, piece)
    assert got[0].requires_grad
    assert torch.equal(got[1].to_dense(), torch.eye(3))
    assert isinstance(got[2], torch.nn.Parameter)


def test_an_error_of_a_worker_is_raised(monkeypatch):
    class Broken(Items):
        def __getitem__(self, index):
            raise ValueError("broken photo")

    with pytest.raises(ValueError, match="broken photo"):
        next(iter(DataLoader(Broken(), 2, collate_fn=OnePiece(list), num_workers=1)))


def test_what_is_sent_can_be_pickled_again():
    loader = DataLoader(Items(), 2, collate_fn=OnePiece(list), num_workers=1)
    batch = next(iter(loader))
    assert equal(pickle.loads(pickle.dumps(batch)), batch)
