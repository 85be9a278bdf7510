"""What people do to jobs and runs, once for every face: the command line, the API, the page.

Each function refuses what cannot be done as things are with a `RefusedError` that says why and what to do
instead, makes the change and logs it in `change_log` in one transaction, and returns what it did. A `dry_run`
checks the same and changes nothing.
"""
