"""How many runs are executed: one after another, in several processes, or by a launcher of one's own."""
