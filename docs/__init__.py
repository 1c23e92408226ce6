"""The chapter's walk: one text, gru.md, and the notebooks made from it by running it in each framework."""

from shared_spec import processes

processes.begin("docs")
