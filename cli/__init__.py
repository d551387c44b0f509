"""The command line: reads keys from disk, speaks to nodes over HTTP, holds no logic of its own."""
