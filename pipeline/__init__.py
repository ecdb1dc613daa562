"""The two-stage recipe from queries to scores; every step can resume. Contains no SQL, HTTP or terminal code."""
