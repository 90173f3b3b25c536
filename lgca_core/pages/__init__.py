"""What the pages of the book call to draw and to tabulate (floor 5), a module a family of pages.

Nothing here computes a result; functions take what the core returned and show it.
"""
