"""Work for the processor, done in other processes: `app.cpu_manager`.

A call is cut into chunks, and a backend runs the chunks in worker processes: on this machine (`processes`) or
on a Dask cluster (`on_dask`). The meaning of a chunk and of its answer is the same for both (`chunk`), so a
call behaves alike wherever it runs.

The difference from a pool of the standard library is that a worker can be killed. Killing is how a timeout or
a cancellation frees a processor that is busy in code which cannot be interrupted, and it makes the death of a
worker an ordinary event. Each worker has its own connection to this process and notes the item that it is
processing, so a death affects only that item; the other items of the chunk run again on another worker.
"""
