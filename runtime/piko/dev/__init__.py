"""`piko dev`: the resource files of a folder, one process, an embedded database, no cluster.

The folder holds a module with a `PikoApp` and resource files. What is different from a cluster is only who
writes the rows: here the folder is mirrored into them (`mirror`), by the rules and models that the operator
uses. Everything behind the rows is the real runtime, as one replica that acts without an election.
"""
