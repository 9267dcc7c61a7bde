from ehrpose.media.live.addresses import SourceSpec, mask, parse_sources
from ehrpose.media.live.opening import LiveOptions
from ehrpose.media.live.source import LiveFrame, LiveSource, LiveSources
from ehrpose.media.live.stats import StreamStats

__all__ = [
    "LiveFrame",
    "LiveOptions",
    "LiveSource",
    "LiveSources",
    "SourceSpec",
    "StreamStats",
    "mask",
    "parse_sources",
]
