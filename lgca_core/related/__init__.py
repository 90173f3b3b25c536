"""Systems that belong to the story of the book and have something to train."""
