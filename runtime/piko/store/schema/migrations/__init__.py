"""The history of the tables: one revision for each DDL statement, run by `piko.store.schema.migrate`.

Why one statement: MySQL commits each DDL statement by itself. A revision that is cut off between its
statement and its version row is run again, finds its work done, and goes on.

A revision's id is the release that brings it and its number there, so that a database can say which
release it needs. A released revision never changes. A new one only adds: a nullable or defaulted column, a
table, an index; the replicas of the previous release keep working.
"""
