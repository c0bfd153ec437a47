"""The map as pictures: pure, from the message of the API to text."""
