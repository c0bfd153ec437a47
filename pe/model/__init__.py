"""Define value types that more than one package of pe uses."""
