"""The control plane: decides what should be, from events; touches nothing outside by itself."""
