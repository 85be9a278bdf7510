"""What the tests stand on: real servers, fresh databases and namespaces, programs, bounded waiting.

A test asks for what it needs by fixture (`tests/conftest.py`) and gets the real thing. Three ideas
carry this:

- **Found, then built.** `prepare` runs before pytest and makes sure that every server exists: named by the
  environment, on `PATH`, in the cache folder, else built or installed. Pytest itself only finds (`locate`).
- **Private and short-lived.** Each server has a free loopback port and a folder of its own. A `Reaper`
  outlives the test run by a moment, so that a run which is killed leaves neither processes nor folders.
- **Fresh per test.** A server is shared by the run, a database or a namespace belongs to one test.
"""
