"""Nothing is trained as in the chapter."""

CHAPTER = {}
