"""What people see of a run: the table, what failed and why, in the terminal and as Markdown."""
