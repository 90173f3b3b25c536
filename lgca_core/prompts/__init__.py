"""The sentences that describe the classes: made, read from files, fetched, and matched with classes by name."""
