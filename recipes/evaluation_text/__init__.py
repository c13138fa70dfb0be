"""How the text that models are compared on is made."""
