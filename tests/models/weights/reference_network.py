"""Second implementation of EfficientHRNet, in plain torch.nn and under the public tensor names.

The conversion is verified against it: the same weights must produce the same maps. Nothing is taken from ``ehrpose``;
the sizes of a phi are arguments.
"""

from __future__ import annotations

import torch
from torch import nn

# Expansion, base channels, stride, kernel of the seven stages, and whether they are tapped.
STAGES = (
    (1, 16, 1, 3),
    (6, 24, 2, 3),
    (6, 40, 2, 5),
    (6, 80, 2, 3),
    (6, 112, 1, 5),
    (6, 192, 2, 5),
    (6, 320, 1, 3),
)
TAPPED = (1, 2, 4, 6)


def conv_bn_swish(channels, width, kernel, stride=1, groups=1):
    """Padding, convolution, norm, Swish: indices 0 to 3."""
    total = max(kernel - stride, 0)
    first, second = total // 2, total - total // 2
    return nn.Sequential(
        nn.ZeroPad2d((first, second, first, second)),
        nn.Conv2d(channels, width, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.SiLU(),
    )


class Squeeze(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.se(x) * x


class Block(nn.Module):
    def __init__(self, channels, width, expansion, kernel, stride):
        super().__init__()
        inner = channels * expansion
        layers = [conv_bn_swish(channels, inner, 1)] if expansion > 1 else []
        layers += [
            conv_bn_swish(inner, inner, kernel, stride, groups=inner),
            Squeeze(inner, max(1, channels // 4)),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        ]
        self.conv = nn.Sequential(*layers)
        self.skip = stride == 1 and channels == width

    def forward(self, x):
        return x + self.conv(x) if self.skip else self.conv(x)


def features(stage_channels, repeats):
    """Return stem and blocks in one list, and the indices of the last blocks of the tapped stages."""
    layers, channels, taps = [conv_bn_swish(3, stage_channels[0], 3, 2)], stage_channels[0], []
    for number, ((expansion, _, stride, kernel), width, count) in enumerate(
        zip(STAGES, stage_channels[1:], repeats)
    ):
        for n in range(count):
            layers.append(Block(channels, width, expansion, kernel, stride if n == 0 else 1))
            channels = width
        if number in TAPPED:
            taps.append(len(layers) - 1)
    return layers, taps


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        inner = self.bn1(self.conv1(x)).clamp(min=0)
        return (self.bn2(self.conv2(inner)) + x).clamp(min=0)


def fuse_layer(widths, to, source):
    if to == source:
        return None
    if source > to:
        return nn.Sequential(
            nn.Conv2d(widths[source], widths[to], 1, bias=False),
            nn.BatchNorm2d(widths[to]),
            nn.UpsamplingNearest2d(scale_factor=2 ** (source - to)),
        )
    steps = []
    for step in range(to - source):
        last = step == to - source - 1
        width = widths[to] if last else widths[source]
        steps.append([nn.Conv2d(widths[source], width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)])
        if not last:
            steps[-1].append(nn.ReLU())
    return nn.Sequential(*(nn.Sequential(*layers) for layers in steps))


class Module(nn.Module):
    def __init__(self, widths, outputs):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(Residual(w), Residual(w)) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(fuse_layer(widths, to, source) for source in range(len(widths)))
            for to in range(outputs)
        )

    def forward(self, xs):
        xs = [branch(x) for branch, x in zip(self.branches, xs)]
        return [
            torch.stack([x if layer is None else layer(x) for layer, x in zip(layers, xs)])
            .sum(0)
            .clamp(min=0)
            for layers in self.fuse_layers
        ]


class ReferenceNetwork(nn.Module):
    """Maps of the paper's network: (B, 2K, H/4, W/4), and (B, K or 2K, H/2, W/2) with ``tags_at_both``."""

    def __init__(self, stage_channels, repeats, widths, modules, num_keypoints=17, tags_at_both=False):
        super().__init__()
        layers, self.taps = features(stage_channels, repeats)
        self.features = nn.Sequential(*layers)
        tapped = [stage_channels[1:][stage] for stage in TAPPED]
        for number, count in enumerate(modules, start=1):
            sources = tapped[:2] if number == 1 else [*widths[:number], tapped[number]]
            for branch, (source, width) in enumerate(zip(sources, widths), start=1):
                entry = nn.Sequential(nn.Conv2d(source, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU())
                self.add_module(f"trans{number}_branch{branch}", entry)
            branches = number + 1
            ends = [1 if number == 3 and n == count - 1 else branches for n in range(count)]
            self.add_module(
                f"stage{number + 1}", nn.Sequential(*(Module(widths[:branches], end) for end in ends))
            )
        first = 2 * num_keypoints
        self.final_layers = nn.ModuleList(
            [
                nn.Conv2d(widths[0], first, 1),
                nn.Conv2d(widths[0], first if tags_at_both else num_keypoints, 1),
            ]
        )
        up = nn.Sequential(
            nn.ConvTranspose2d(widths[0] + first, widths[0], 4, 2, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        residuals = (nn.Sequential(Residual(widths[0])) for _ in range(2))
        self.deconv_layers = nn.ModuleList([nn.Sequential(up, *residuals)])

    def forward(self, x):
        tapped = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.taps:
                tapped.append(x)
        xs = tapped[:1]
        for number in (1, 2, 3):
            xs = [*xs, tapped[number]]
            xs = [getattr(self, f"trans{number}_branch{n}")(x) for n, x in enumerate(xs, start=1)]
            xs = getattr(self, f"stage{number + 1}")(xs)
        low = self.final_layers[0](xs[0])
        high = self.final_layers[1](self.deconv_layers[0](torch.cat((xs[0], low), dim=1)))
        return low, high


def randomize(network, seed=0):
    """Set random weights and statistics that keep signals from vanishing or exploding; return it in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(int(torch.randint(1, 1000, (), generator=generator)))
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.ndim == 1 and name.endswith("weight"):
            tensor.uniform_(0.5, 1.2, generator=generator)
        elif tensor.ndim == 1:
            tensor.normal_(0, 0.1, generator=generator)
        else:
            tensor.normal_(0, 0.7 / tensor[0].numel() ** 0.5, generator=generator)
    return network.eval()
