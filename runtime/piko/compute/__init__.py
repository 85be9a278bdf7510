"""Work for the processor, done in other processes: `app.cpu_manager`.

A call is cut into chunks, a chunk goes to a backend, and a backend is a place with worker processes: this
machine (`processes`) or a Dask cluster (`on_dask`). What a chunk means, and what a worker answers, is the
same for both (`chunk`), so a call behaves alike wherever it runs.

Only one thing tells this from a pool of the standard library: a worker can be killed. That is how a timeout
or a cancellation frees a processor that is busy in code which listens to nobody, and why the death of a
worker is an ordinary event here. Each worker has a line of its own to this process and writes down which
item it is at, so a death costs the item that it happened under, and its neighbours run again elsewhere.
"""
