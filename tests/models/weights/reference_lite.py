"""Second implementation of EfficientNet-Lite, in plain torch.nn and under the names of the published weights."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

# Expansion, channels, blocks, stride, kernel; (width 1.0, depth 1.0), (1.0, 1.1) and (1.1, 1.2) written out.
LITE0 = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
         (6, 320, 1, 1, 3)]  # fmt: skip
LITE1 = [(1, 16, 1, 1, 3), (6, 24, 3, 2, 3), (6, 40, 3, 2, 5), (6, 80, 4, 2, 3), (6, 112, 4, 1, 5), (6, 192, 5, 2, 5),
         (6, 320, 1, 1, 3)]  # fmt: skip
LITE2 = [(1, 16, 1, 1, 3), (6, 24, 3, 2, 3), (6, 48, 3, 2, 5), (6, 88, 4, 2, 3), (6, 120, 4, 1, 5), (6, 208, 5, 2, 5),
         (6, 352, 1, 1, 3)]  # fmt: skip


class SamePad(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, computed from the size of the input."""

    def __init__(self, channels, width, kernel, stride=1, groups=1):
        super().__init__(channels, width, kernel, stride, groups=groups, bias=False)

    def forward(self, x):
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class LiteBlock(nn.Module):
    def __init__(self, channels, width, expansion, kernel, stride):
        super().__init__()
        inner = channels * expansion
        if expansion > 1:
            self._expand_conv = SamePad(channels, inner, 1)
            self._bn0 = nn.BatchNorm2d(inner, eps=1e-3)
        self._depthwise_conv = SamePad(inner, inner, kernel, stride, groups=inner)
        self._bn1 = nn.BatchNorm2d(inner, eps=1e-3)
        self._project_conv = SamePad(inner, width, 1)
        self._bn2 = nn.BatchNorm2d(width, eps=1e-3)
        self.skip = stride == 1 and channels == width

    def forward(self, x):
        out = x
        if hasattr(self, "_expand_conv"):
            out = F.relu6(self._bn0(self._expand_conv(out)))
        out = F.relu6(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))
        return out + x if self.skip else out


class ReferenceLite(nn.Module):
    """Logits (B, num_classes) of (B, 3, H, W)."""

    def __init__(self, stages, num_classes=11):
        super().__init__()
        self._conv_stem = SamePad(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList()
        channels = 32
        for expansion, width, count, stride, kernel in stages:
            for n in range(count):
                self._blocks.append(LiteBlock(channels, width, expansion, kernel, stride if n == 0 else 1))
                channels = width
        self._conv_head = SamePad(channels, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, num_classes)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))
