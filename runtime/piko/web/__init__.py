"""The API and the page: one ASGI application over the database alone.

It knows nothing of a leader's or a replica's insides. `piko web` serves it as a program of its own.

- `application` builds it; `lifespan` opens and closes its small pool of connections.
- `routes/` has one module per noun. A route reads `store/reports`, acts through `steering`, and has no rule
  of its own.
- `problems` turns every error into an RFC 9457 answer, with the message that the command line prints.
- `paging` is how lists are cut: by key, never by OFFSET.
- `page` adds the pages to the application; `pages/` has one module per page, `views/` says what each shows,
  as values, and `templates/` places it. `rendering` brings them together, and serves `static/`.
"""
