"""The embedded world: painted birds, their language, and the small CLIP trained on them."""
