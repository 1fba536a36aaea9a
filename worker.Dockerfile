ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS installed
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/larder
RUN python -m venv /opt/venv
COPY requirements-worker.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --require-hashes --requirement requirements-worker.lock
COPY . .
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --no-index --editable . \
    && /opt/venv/bin/python -m compileall -q blocks cli flows larder stack

FROM ${PYTHON_IMAGE}
RUN useradd --uid 1000 --home-dir /var/lib/larder --create-home --shell /usr/sbin/nologin larder
COPY --from=installed /opt/venv /opt/venv
COPY --from=installed /opt/larder /opt/larder
ENV PATH=/opt/venv/bin:$PATH \
    LARDER_HOME=/var/lib/larder \
    PREFECT_HOME=/var/lib/larder/prefect \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1
WORKDIR /opt/larder
USER 1000:1000
VOLUME /var/lib/larder
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
CMD ["python", "-m", "stack.worker"]
