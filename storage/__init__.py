"""LevelDB, the vote journal and the vault; speaks bytes and `salus` types."""
