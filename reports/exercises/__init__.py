"""The chapter's exercises, answered by measurement: a page of their own, each part a module that builds plain data."""
