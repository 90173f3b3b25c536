"""GOAL (arXiv 2503.17782): a CLIP tuned on long captions and on matches of a sentence and a region."""
