ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    LARDER_HOME=/var/lib/larder \
    PREFECT_HOME=/tmp/prefect \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1
WORKDIR /opt/larder
COPY requirements-worker.lock ./
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN --mount=type=cache,target=/root/.cache \
    useradd --uid 1000 --home-dir /var/lib/larder --create-home --shell /usr/sbin/nologin larder \
    && mkdir /var/lib/larder/scratch /var/lib/larder/metrics \
    && chown --recursive larder: /var/lib/larder \
    && python -m venv /tmp/installer \
    && sed -n '/^uv==/,/^    # /p' requirements-worker.lock > /tmp/installer/uv.lock \
    && /tmp/installer/bin/pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement /tmp/installer/uv.lock \
    && /tmp/installer/bin/uv venv --quiet --python /usr/local/bin/python3 /opt/venv \
    && /tmp/installer/bin/uv pip install --quiet --python /opt/venv --link-mode copy --compile-bytecode \
        --require-hashes --requirement requirements-worker.lock \
    && rm -r /tmp/installer
COPY . .
RUN uv pip install --quiet --offline --no-deps --no-build-isolation --no-cache --editable . \
    && python -m compileall -q blocks cli flows larder stack
USER 1000:1000
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --start-interval=1s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
CMD ["python", "-m", "stack.worker", "--health"]
