"""Pictures with captions, the sets of them that are published, and retrieval between the two."""
