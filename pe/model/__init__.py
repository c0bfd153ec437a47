"""Value types that more than one room of pe uses."""
