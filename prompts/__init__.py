"""What is said to the models: a Markdown/Jinja file for each role, and the tables of personas. Knows no model."""
