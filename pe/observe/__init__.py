"""What the kernel is seen to do: the underlay, ports, counters."""
