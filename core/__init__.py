"""The words of the project: values, failures and settings. Imports nothing of the other folders."""
