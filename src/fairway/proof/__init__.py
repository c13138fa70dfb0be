"""The evidence that every conversion leaves behind: what is the same, what differs, and by how much."""
