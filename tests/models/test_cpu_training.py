"""Norms and depthwise convolutions in compiled kernels: torch's values, in both types, and torch's layers elsewhere."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ehrpose.models import cpu_training
from ehrpose.models.cpu_training import KernelNorm, use_cpu_kernels, why_no_kernels
from ehrpose.models.layers import BasicBlock, ConvBNAct, MBConv, SplitPadConv2d

needs_kernels = pytest.mark.skipif(why_no_kernels() is not None, reason=str(why_no_kernels()))
ACTS = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6, "silu": F.silu}
# Largest error against float64, as a share of the largest value: rounding of the result's type.
ERRORS = {torch.float32: 2e-6, torch.bfloat16: 5e-3}


def channels_last(*shape, dtype=torch.float32, seed=0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return values.contiguous(memory_format=torch.channels_last).requires_grad_()


def error(result, expected):
    result, expected = result.detach().double(), expected.detach().double()
    return float((result - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def lively_norm(channels, seed=0):
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3)
    generator = torch.Generator().manual_seed(seed)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        tensor.data.copy_(torch.randn(channels, generator=generator))
    return norm


@needs_kernels
@pytest.mark.parametrize("dtype", list(ERRORS))
@pytest.mark.parametrize("act", list(ACTS))
@pytest.mark.parametrize(
    "shape", [(3, 24, 16, 16), (2, 17, 8, 4), (1, 32, 2, 4), (4, 1152, 3, 5), (2, 40, 96, 64)]
)
def test_a_norm_and_its_activation_are_those_of_torch(dtype, act, shape):
    from ehrpose.models.compiled.norm import NormAct

    x = (channels_last(*shape, dtype=dtype) * 3 + 50).detach().requires_grad_()
    gradient = channels_last(*shape, dtype=dtype, seed=1).detach()
    norm = lively_norm(shape[1])
    exact, exact_x = copy.deepcopy(norm).double(), x.detach().double().requires_grad_()
    expected = ACTS[act](exact(exact_x))
    # Of values on the edge of an activation, either side may be right: none of them here.
    edge = (expected.detach().abs() < 1e-3) | ((expected.detach() - 6).abs() < 1e-3)
    gradient = gradient.masked_fill(edge & (expected.detach() != 0) & (expected.detach() != 6), 0)
    expected.backward(gradient.double())
    running = (norm.running_mean, norm.running_var)
    result = NormAct.apply(x, norm.weight, norm.bias, *running, norm.momentum, norm.eps, act)
    result.backward(gradient)
    limit = ERRORS[dtype] * (10 if dtype == torch.float32 else 1)  # the mean is large
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert error(result, expected) < limit
    assert error(x.grad, exact_x.grad) < limit
    assert error(norm.weight.grad, exact.weight.grad) < 1e-4
    assert error(norm.bias.grad, exact.bias.grad) < 1e-4
    np.testing.assert_allclose(norm.running_mean, exact.running_mean, rtol=1e-6)
    np.testing.assert_allclose(norm.running_var, exact.running_var, rtol=1e-4)


@needs_kernels
@pytest.mark.parametrize("dtype", list(ERRORS))
@pytest.mark.parametrize("act", list(ACTS))
@pytest.mark.parametrize("shape", [(3, 24, 16, 16), (2, 17, 8, 4), (4, 1152, 3, 5), (2, 40, 96, 64)])
def test_a_frozen_norm_is_that_of_torch(dtype, act, shape, monkeypatch):
    from ehrpose.models.compiled import norm as kernels

    calls = []
    fixed = kernels.fixed_norm_act
    monkeypatch.setattr(kernels, "fixed_norm_act", lambda *args: calls.append(args) or fixed(*args))
    x = channels_last(*shape, dtype=dtype).detach()
    plain = lively_norm(shape[1]).eval().requires_grad_(False)
    plain.running_var.uniform_(0.5, 2)
    fast = KernelNorm.of(plain)
    fast.act = act
    expected = ACTS[act](copy.deepcopy(plain).double()(x.double()))
    result = fast(x)
    assert len(calls) == 1
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert error(result, expected) < ERRORS[dtype]
    with torch.no_grad():
        assert torch.equal(fast(x), ACTS[act](plain(x))), "a test is torch's"
    assert fast(x.clone().requires_grad_()).requires_grad, "gradients pass"
    assert len(calls) == 1


@needs_kernels
@pytest.mark.parametrize("dtype", list(ERRORS))
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "before", "after", "height", "width"),
    [
        (32, 3, 1, 1, 1, 9, 7),
        (16, 5, 1, 2, 2, 8, 8),
        (48, 5, 2, 1, 2, 16, 12),
        (16, 3, 2, 0, 1, 8, 10),
        (16, 3, 2, 1, 1, 9, 11),
        (16, 7, 3, 2, 3, 17, 14),
        (16, 1, 1, 0, 0, 3, 1),
    ],
)
def test_a_depthwise_convolution_is_that_of_torch(
    dtype, channels, kernel, stride, before, after, height, width
):
    from ehrpose.models.compiled.depthwise import Depthwise

    x = channels_last(3, channels, height, width, dtype=dtype)
    weight = torch.randn(channels, 1, kernel, kernel, requires_grad=True)
    exact_x, exact_weight = (tensor.detach().double().requires_grad_() for tensor in (x, weight))
    padded = F.pad(exact_x, (before, after, before, after))
    expected = F.conv2d(padded, exact_weight, stride=stride, groups=channels)
    result = Depthwise.apply(x, weight, stride, before, after)
    assert result.shape == expected.shape
    assert result.dtype == dtype
    gradient = channels_last(*expected.shape, dtype=dtype, seed=1).detach()
    result.backward(gradient)
    expected.backward(gradient.double())
    assert error(result, expected) < ERRORS[dtype]
    assert error(x.grad, exact_x.grad) < ERRORS[dtype]
    assert error(weight.grad, exact_weight.grad) < ERRORS[dtype]


@needs_kernels
def test_the_sigmoid_is_exact_over_all_numbers_that_matter():
    from ehrpose.models.compiled.threads import run
    from ehrpose.models.compiled.vector_code import LANES, Compiled, VectorCode

    code = VectorCode("sigmoids", ("x", "result", "count"), half=False)
    with code.loop(0, code.args["count"], LANES) as index:
        code.set_floats(code.args["result"], index, code.sigmoid(code.floats(code.args["x"], index)))
    compiled = Compiled(code)
    x = torch.cat([torch.linspace(-110, 110, 1 << 16), torch.linspace(-2, 2, 1 << 16), torch.zeros(LANES)])
    x[-4:] = torch.tensor([float("inf"), -float("inf"), float("nan"), -0.0])
    result = torch.empty_like(x)
    run(compiled.address, [x.data_ptr(), result.data_ptr(), len(x)])
    exact = torch.sigmoid(x[:-4].double())
    assert float(((result[:-4] - exact) / exact)[exact > 1e-37].abs().max()) < 2.5e-7
    assert float((result[:-4] - exact).abs().max()) < 1.3e-7
    assert result[-4:-2].tolist() == [1.0, pytest.approx(0, abs=1e-37)]
    assert result[-2].isnan()
    assert result[-1] == 0.5


@needs_kernels
def test_nan_and_infinity_are_passed_on():
    from ehrpose.models.compiled.norm import NormAct

    for dtype in ERRORS:
        for bad in (float("nan"), float("inf")):
            x = channels_last(1, 32, 4, 4, dtype=dtype).detach()
            x[0, 3, 1, 1] = bad
            result = NormAct.apply(x, *torch.ones(4, 32), 0.1, 1e-5, "relu")
            assert result[0, 3].isnan().all()
            assert result[0, :3].isfinite().all()
            assert result[0, 4:].isfinite().all()


@needs_kernels
def test_the_number_of_threads_changes_no_bit():
    from ehrpose.models.compiled.norm import NormAct

    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            x = channels_last(4, 24, 64, 64)
            weight, bias = torch.ones(24, requires_grad=True), torch.zeros(24, requires_grad=True)
            conv = SplitPadConv2d(48, 48, 5, 2, 48)
            conv.weight.data.copy_(torch.linspace(-1, 1, conv.weight.numel()).reshape(conv.weight.shape))
            conv.with_kernel = True
            y = NormAct.apply(x, weight, bias, *torch.ones(2, 24), 0.1, 1e-5, "relu")
            z = conv(torch.cat([y, y], 1))
            z.square().sum().backward()
            results.append([x.grad, weight.grad, bias.grad, conv.weight.grad, z.detach()])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def blocks():
    torch.manual_seed(0)
    return nn.Sequential(
        ConvBNAct(3, 16, 3, 2, act=nn.ReLU6),
        MBConv(16, 24, 6, 5, 2, squeeze_excite=False, act=nn.ReLU6),
        MBConv(24, 24, 6, 3, 1, squeeze_excite=True, act=nn.SiLU),
        BasicBlock(24),
    ).to(memory_format=torch.channels_last)


def step(model, autocast):
    """Return the loss, the gradients and the state after a step of training, and the values of a test."""
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    model.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model(x).float().square().mean()
    loss.backward()
    model.eval()
    with torch.no_grad():
        tested = model(x)
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}, model.state_dict(), tested


@needs_kernels
@pytest.mark.parametrize("autocast", [False, True])
def test_a_network_trains_as_before(autocast, monkeypatch):
    calls = []
    plain, fast = blocks(), blocks()
    assert use_cpu_kernels(fast) == (9, 2)
    from ehrpose.models.compiled.depthwise import Depthwise
    from ehrpose.models.compiled.norm import NormAct

    for function in (NormAct, Depthwise):
        apply = function.apply
        monkeypatch.setattr(
            function,
            "apply",
            lambda *args, apply=apply, name=function.__name__: calls.append(name) or apply(*args),
        )
    assert list(plain.state_dict()) == list(fast.state_dict())
    losses, gradients, states, tested = zip(step(plain, autocast), step(fast, autocast))
    assert (calls.count("NormAct"), calls.count("Depthwise")) == (9, 2), "in training, and only there"
    assert float(losses[1]) == pytest.approx(float(losses[0]), rel=5e-3 if autocast else 1e-5)
    limit = 0.15 if autocast else 2e-3
    difference = sum(float((gradients[0][name] - gradients[1][name]).square().sum()) for name in gradients[0])
    assert difference < limit**2 * sum(float(g.square().sum()) for g in gradients[0].values())
    limits = {"rtol": 0.05, "atol": 1e-2} if autocast else {"rtol": 1e-4, "atol": 1e-5}
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, **limits)
    assert error(tested[1], tested[0]) < (0.05 if autocast else 1e-4)


@needs_kernels
def test_tested_with_the_same_state_nothing_changes_at_all():
    plain, fast = blocks().eval(), blocks().eval()
    use_cpu_kernels(fast)
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(plain(x), fast(x))


@needs_kernels
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(2, 17, 5, 3).contiguous(
            memory_format=torch.channels_last
        ),  # rows that do not come out
        lambda: torch.randn(2, 17, 8, 4),  # another layout
        lambda: torch.randn(2, 17, 8, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last),
    ],
)
def test_what_does_not_fit_is_computed_by_torch(make, monkeypatch):
    from ehrpose.models.compiled.norm import NormAct

    monkeypatch.setattr(NormAct, "apply", lambda *args: pytest.fail("the kernel was used"))
    x = make()
    plain = lively_norm(17).to(x.dtype)
    fast = KernelNorm.of(copy.deepcopy(plain))
    fast.act = "relu"
    assert torch.equal(F.relu(plain(x)), fast(x))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, fast.state_dict()[name])
    conv = SplitPadConv2d(24, 24, 3, 1, 24)
    assert use_cpu_kernels(nn.Sequential(conv)) == (0, 0), "24 channels are no multiple of 16"


def test_norms_of_other_kinds_stay():
    model = nn.Sequential(
        nn.BatchNorm2d(16, affine=False), nn.SyncBatchNorm(16), nn.BatchNorm2d(16), nn.GELU()
    )
    assert use_cpu_kernels(model) == (1, 0)
    assert isinstance(model[3], nn.GELU)
    assert model[2].act == "none"


@needs_kernels
@pytest.mark.parametrize("key", [True, False])
def test_the_runner_uses_them_where_the_config_says_so(key, demo_config, small_options, tmp_path):
    from ehrpose.config import load_config
    from ehrpose.engine.runner import build_runner

    cfg = load_config(demo_config, {**small_options, "cpu_kernels": key, "channels_last": True})
    runner = build_runner(cfg, tmp_path)
    assert any(isinstance(module, KernelNorm) for module in runner.model.modules()) == key


@needs_kernels
def test_an_llvmlite_that_cannot_compile_them_is_named(monkeypatch):
    from ehrpose.models.compiled import norm

    def fail(*args):
        raise AttributeError("no attribute 'create_pass_builder'")

    monkeypatch.setattr(norm, "_plan", fail)
    assert "llvmlite cannot compile them (no attribute" in str(why_no_kernels.__wrapped__())
    monkeypatch.undo()
    monkeypatch.setattr(norm.NormAct, "apply", lambda x, *args: x)
    assert "other values than torch" in str(why_no_kernels.__wrapped__())
    monkeypatch.undo()
    monkeypatch.setattr("ehrpose.models.compiled.threads.parallel_regions", lambda: None)
    assert "no GNU OpenMP" in str(why_no_kernels.__wrapped__())


def test_without_llvmlite_the_run_says_so(demo_config, small_options, tmp_path, monkeypatch, caplog):
    from ehrpose.config import load_config
    from ehrpose.engine import runner as runner_module

    monkeypatch.setattr(runner_module, "why_no_kernels", lambda: "they need llvmlite")
    cfg = load_config(demo_config, {**small_options, "channels_last": True})
    runner = runner_module.build_runner(cfg, tmp_path)
    assert not any(isinstance(module, KernelNorm) for module in runner.model.modules())
    text = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "cpu_kernels: torch's layers are used, they need llvmlite" in text
    assert logging.getLevelName(runner.logger.level)
    assert cpu_training.why_no_kernels() is None or isinstance(cpu_training.why_no_kernels(), str)
