"""The commands. Each module parses before it imports torch, so that --help is quick."""
