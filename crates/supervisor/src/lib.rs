//! A supervision tree for threads and tasks: strategies, restart intensity, awaited exits.
