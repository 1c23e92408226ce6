"""A framework made of NumPy, file by file as in frameworks/: what a new folder has to offer, and no more."""
