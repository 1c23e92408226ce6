"""How often explain names what was planted, and whether it names anything where nothing is wrong."""
