"""Computations of the pages: frames and records in, frames out. Nothing here draws."""
