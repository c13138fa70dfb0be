"""One file per peer, and the table of all of them."""
