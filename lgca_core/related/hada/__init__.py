"""HADA (arXiv 2301.04742): two or more frozen retrieval models joined by a graph over their tokens."""
