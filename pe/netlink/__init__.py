"""Read, change and follow the kernel's state; decisions are made elsewhere."""
