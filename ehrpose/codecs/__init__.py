from ehrpose.codecs.associative_embedding import AssociativeEmbedding
from ehrpose.codecs.grouping import Groups, group_by_tag

__all__ = ["AssociativeEmbedding", "Groups", "group_by_tag"]
