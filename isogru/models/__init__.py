"""Whole models: which recurrent layers a file holds, which are the same, and all of them from one layout to another."""
