"""Parse policy documents into rules, and print them."""
