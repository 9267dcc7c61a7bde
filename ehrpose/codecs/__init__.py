from ehrpose.codecs.associative_embedding import AssociativeEmbedding
from ehrpose.codecs.grouping import Groups, group_by_tag
from ehrpose.codecs.settings import DecodeSettings

__all__ = ["AssociativeEmbedding", "DecodeSettings", "Groups", "group_by_tag"]
