"""The code of the book: what its pages compute, draw and tabulate, and what builds them."""
