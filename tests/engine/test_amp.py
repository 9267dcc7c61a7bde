from __future__ import annotations

import pytest
import torch
from torch import nn
from toy_parts import toy_config, weights

from ehrpose.engine import AutocastOptimWrapper, amp, build_runner


def wrapper_for(model: nn.Module, **kwargs) -> AutocastOptimWrapper:
    return AutocastOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **kwargs)


def test_forward_runs_in_bfloat16_and_weights_stay_float32():
    model = nn.Linear(4, 4)
    wrapper = wrapper_for(model, dtype="bfloat16")
    with wrapper.optim_context(model):
        out = model(torch.ones(1, 4))
    assert out.dtype is torch.bfloat16
    before = model.weight.detach().clone()
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype is torch.float32
    assert not torch.equal(before, model.weight)


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_a_cpu_without_bfloat16_trains_in_float32_and_says_so(monkeypatch, has_bfloat16):
    said: list[str] = []
    monkeypatch.setattr(amp, "cpu_has_bfloat16", lambda: has_bfloat16)
    monkeypatch.setattr(amp, "print_log", lambda message, *_: said.append(message))
    model = nn.Linear(4, 4)
    wrapper = wrapper_for(model)
    with wrapper.optim_context(model):
        out = model(torch.ones(1, 4))
    assert out.dtype is (torch.bfloat16 if has_bfloat16 else torch.float32)
    assert ["no fast bfloat16" in message for message in said] == [True] * (not has_bfloat16)
    before = model.weight.detach().clone()
    wrapper.update_params(out.float().sum())
    assert not torch.equal(before, model.weight)
    wrapper_for(model, dtype="bfloat16").load_state_dict(wrapper.state_dict())


def test_clips_the_gradient():
    model = nn.Linear(4, 4, bias=False)
    wrapper = wrapper_for(model, clip_grad={"max_norm": 0.5})
    before = model.weight.detach().clone()
    wrapper.update_params(1000 * model(torch.ones(1, 4)).sum())
    assert (model.weight - before).norm().item() == pytest.approx(0.1 * 0.5, rel=1e-4)


def test_accumulates_the_gradients_of_several_batches():
    model = nn.Linear(4, 1, bias=False)
    wrapper = wrapper_for(model, accumulative_counts=2)
    before = model.weight.detach().clone()
    wrapper.update_params(model(torch.ones(1, 4)).sum())
    assert torch.equal(before, model.weight)
    wrapper.update_params(3 * model(torch.ones(1, 4)).sum())
    torch.testing.assert_close(before - model.weight, torch.full((1, 4), 0.1 * 2.0))


@pytest.mark.parametrize(
    ("dtype", "message"), [("float16", "needs CUDA"), ("int8", "one of bfloat16, float16")]
)
def test_wrong_dtype_is_an_error(dtype, message):
    with pytest.raises(ValueError, match=message):
        wrapper_for(nn.Linear(1, 1), dtype=dtype)


def test_training_in_bfloat16_resumes_bit_equal(tmp_path):
    wrapper = {"type": "AutocastOptimWrapper", "dtype": "bfloat16", "optimizer": {"type": "Adam", "lr": 0.01}}
    build_runner(toy_config(tmp_path / "a", max_epochs=2, optim_wrapper=wrapper)).train()
    first = str(tmp_path / "a/epoch_1.pth")
    cfg = toy_config(tmp_path / "b", max_epochs=2, optim_wrapper=wrapper, resume=True, load_from=first)
    build_runner(cfg).train()
    whole, resumed = weights(tmp_path / "a/epoch_2.pth"), weights(tmp_path / "b/epoch_2.pth")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_cuda_scales_the_loss_for_float16_only(dtype):
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    model = nn.Linear(4, 4, bias=False).cuda()
    wrapper = wrapper_for(model, dtype=dtype, clip_grad={"max_norm": 0.5})
    with wrapper.optim_context(model):
        out = model(torch.ones(1, 4, device="cuda"))
    before = model.weight.detach().clone()
    wrapper.update_params(1000 * out.float().sum())
    assert out.dtype is getattr(torch, dtype)
    assert wrapper.loss_scaler.is_enabled() == (dtype == "float16")
    assert (model.weight - before).norm().item() == pytest.approx(0.1 * 0.5, rel=1e-3)
    state = wrapper.state_dict()
    wrapper_for(model, dtype=dtype).load_state_dict(state)
