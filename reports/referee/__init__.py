"""The page Referee: what the referee catches, what other suites accept, what one tolerance would do, and the pack."""
