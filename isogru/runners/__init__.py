"""What runs a GRU that is not isogru's own: a function or a module in this process, a program beside it."""
