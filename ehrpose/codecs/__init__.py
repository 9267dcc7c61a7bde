from ehrpose.codecs.associative_embedding import AssociativeEmbedding
from ehrpose.codecs.base import BaseCodec, MirrorRule
from ehrpose.codecs.grouping import Groups, group_by_tag
from ehrpose.codecs.settings import DecodeSettings

__all__ = ["AssociativeEmbedding", "BaseCodec", "DecodeSettings", "Groups", "MirrorRule", "group_by_tag"]
