"""Many captures in one command: what is to be done, what was done, who does it, and what came of it."""
