"""What a file holds (look: files to a description), and the commands to begin with (advice: a description to words)."""
