from typing import TYPE_CHECKING

from ehrpose.codecs.associative_embedding import AssociativeEmbedding
from ehrpose.codecs.base import BaseCodec, MirrorRule
from ehrpose.codecs.grouping import Groups, group_by_tag
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.lazy import lazy_attributes

if TYPE_CHECKING:
    from ehrpose.codecs.part_affinity import PartAffinity
    from ehrpose.codecs.personlab import PersonLab

__all__ = [
    "AssociativeEmbedding", "BaseCodec", "DecodeSettings", "Groups", "MirrorRule", "PartAffinity", "PersonLab",
    "group_by_tag",
]  # fmt: skip

if not TYPE_CHECKING:  # networks with associative embedding do not need them
    __getattr__ = lazy_attributes(
        __name__,
        {"PartAffinity": "ehrpose.codecs.part_affinity", "PersonLab": "ehrpose.codecs.personlab"},
    )
