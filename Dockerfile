# Two images: `--target runtime` runs jobs, `--target operator` mirrors custom resources into the database.
# Both run as user 10001 on a read-only root file system; what they write goes to /tmp.
ARG PYTHON_IMAGE=python:3.13-slim

# ---- wheels: nothing of this stage reaches an image -------------------------------------------------
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/operator.txt requirements.txt
# The dependencies change less often than the code and get a layer of their own; the operator's include the
# runtime's. A file whose hash is not in the list is refused. Wheels only: an image that had to compile
# something would need a compiler.
RUN pip wheel --only-binary=:all: --no-deps --require-hashes --wheel-dir=/wheels -r requirements.txt
COPY LICENSE README.md pyproject.toml ./
COPY runtime runtime
COPY operator operator
RUN pip wheel --no-deps --wheel-dir=/wheels . \
    && pip install --no-index --find-links=/wheels --prefix=/installed/runtime piko \
    && pip install --no-index --find-links=/wheels --prefix=/installed/operator 'piko[operator]'
# More than a third of what wheels bring is sources in C, tests and symbols of debuggers.
COPY requirements/trim.py trim.py
# Bytecode that does not look at the source's time, which a builder may change while it copies: compiling at
# each start takes a pod four seconds of CPU, on a file system that it may not write to.
RUN python trim.py /installed \
    && python -m compileall -q -f --invalidation-mode unchecked-hash /installed

# ---- what both images share -------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS base
# A user by name as well as by number: libraries ask for the name of who runs them.
RUN groupadd --gid 10001 piko \
    && useradd --uid 10001 --gid piko --no-create-home --home-dir /tmp --shell /usr/sbin/nologin piko
# Python's own library comes without bytecode in this image.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x '/(tests?|lib2to3|idlelib|pydoc_data|site-packages|tkinter|turtledemo)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# Nothing more is compiled while a pod runs: its file system is read-only, and those who build on this image
# compile what they install with pip. A user whose number has no name, such as OpenShift's, has a name and a
# home by these variables: without them libraries fail, or write to /.
ENV HOME=/tmp \
    LOGNAME=piko \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Piko" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# ---- operator ---------------------------------------------------------------------------------------
FROM base AS operator
LABEL org.opencontainers.image.title="piko-operator" \
      org.opencontainers.image.description="Mirrors PikoSchedule and PikoJobConfig into the database, and runs into their status."
COPY --from=build /installed/operator /usr/local
USER 10001:10001
EXPOSE 8081
ENTRYPOINT ["python", "-m", "piko_operator"]

# ---- runtime: the last stage, so that a plain `docker build .` makes it ------------------------------
FROM base AS runtime
LABEL org.opencontainers.image.title="piko-runtime" \
      org.opencontainers.image.description="Runs scheduled async Python jobs; build on it and copy your jobs to /app."
COPY --from=build /installed/runtime /usr/local
# Jobs are modules in /app; your own app.py takes the place of the demonstration.
WORKDIR /app
ENV PYTHONPATH=/app
COPY examples/cluster/app.py /app/app.py
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["piko"]
CMD ["run", "app:app"]
