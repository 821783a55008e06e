"""Images in, batches out. Each data set is a map-style torch Dataset of `Sample`s in a file of its own."""
