"""Sources: files of any shape, read as a stream of raw records, and images, read as RGB by one function."""
