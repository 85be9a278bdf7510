"""`piko dev`: the resource files of a folder, one process, an embedded database, no cluster.

The folder holds a module with a `PikoApp` and resource files. The only difference from a cluster is what
writes the rows: here the folder is mirrored into them (`mirror`), with the operator's rules and models.
Everything behind the rows is the real runtime, as one replica that acts without an election.
"""
