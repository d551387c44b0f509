"""The library: what is a valid transaction, block and proof; needs no node."""
