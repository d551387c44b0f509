"""Real processes, concurrent clients, faults; then the history of what they were told is judged."""
