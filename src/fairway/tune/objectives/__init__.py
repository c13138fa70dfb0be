"""What training minimises: a file per objective, and the table of them."""
