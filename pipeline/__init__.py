"""The two-stage recipe from queries to scores, each stage resumable. Knows no SQL, no HTTP and no terminal."""
