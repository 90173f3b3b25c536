"""What the pages of the book call to draw and to tabulate, a module a family of pages.

Results come from the core; what is here at most counts, pairs and corrects them.
"""
