"""Data set x encoder x method x seed -> a record, the features it keeps on disk, and the statistics read from it."""
