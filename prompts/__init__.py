"""What is said to the models: one Markdown/Jinja file a role, and the tables that personas are drawn from. Knows no model."""
