"""The errata of the chapter, each run wrong and right and judged: one function for each, and what they share."""
