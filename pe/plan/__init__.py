"""What should be in the kernel and in which order it gets there. Pure: no socket, no clock."""
