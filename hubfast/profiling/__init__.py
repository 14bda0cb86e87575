"""What models cost: counts of operations and parameters, memory, speed."""
