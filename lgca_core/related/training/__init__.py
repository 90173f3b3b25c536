"""What the trainings of the related systems share: the folder of a run, and its table of losses."""
