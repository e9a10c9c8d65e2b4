"""Pure functions: who must leave so that a model may run, and who is next in line."""
