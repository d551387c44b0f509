"""What people and organisations sign, as operations; commands and the SDK make them here, once."""
