"""Days of traffic in virtual time: a machine with memory, processes, clients, and schedulers to compare."""
