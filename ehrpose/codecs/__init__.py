from typing import TYPE_CHECKING

from ehrpose.codecs.associative_embedding import AssociativeEmbedding
from ehrpose.codecs.base import BaseCodec, MirrorRule
from ehrpose.codecs.grouping import Groups, group_by_tag
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.lazy import lazy_attributes

if TYPE_CHECKING:
    from ehrpose.codecs.personlab import PersonLab

__all__ = [
    "AssociativeEmbedding", "BaseCodec", "DecodeSettings", "Groups", "MirrorRule", "PersonLab", "group_by_tag",
]  # fmt: skip

if not TYPE_CHECKING:  # networks with associative embedding do not need it
    __getattr__ = lazy_attributes(__name__, {"PersonLab": "ehrpose.codecs.personlab"})
