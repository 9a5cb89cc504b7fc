"""A trained run in use: it predicts, writes, is exported, and is looked into."""
