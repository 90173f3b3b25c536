"""Figures and tables of the pages, a module a family of pages.

Results come from the core; what is here at most counts, pairs and corrects them.
"""
