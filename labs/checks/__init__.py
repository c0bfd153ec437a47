"""What labs claim, and the evidence for it."""
