"""Answer questions: what-if, explain, recommend, flows, evidence."""
