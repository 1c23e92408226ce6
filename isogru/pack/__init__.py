"""The golden pack: the fewest cases that kill every mutant, as files that need no isogru."""
