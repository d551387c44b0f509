"""One file per family of commands; nothing here is imported before its command is called."""
