"""What must outlive the process: one SQLite file per node, each change a durable transaction."""
