# syntax=docker/dockerfile:1
# lipswap-api: the REST door, the flows, the orchestrator worker and the deploy command; the command says which.
# Built by `make images`. PYTHON_BASE is python:3.11-slim-bookworm pinned by digest; there is no default on purpose:
# a digest is looked up by the one who builds (docs/deploy.md) and never out of date in a file.
ARG PYTHON_BASE
FROM ${PYTHON_BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY locks/image-build.txt locks/image-api.txt locks/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --require-hashes -r locks/image-build.txt \
    && python -m venv /opt/lipswap \
    && /opt/lipswap/bin/pip install --no-deps --require-hashes -r locks/image-api.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY gpu_tasks gpu_tasks
COPY blocks blocks
COPY flows flows
COPY api_shim api_shim
COPY deployments deployments
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/lipswap/bin/pip install --no-deps --no-index --find-links /dist lipswap

FROM ${PYTHON_BASE} AS run
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lipswap-api" \
      org.opencontainers.image.description="REST door, flows and orchestrator worker of Lipswap" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /home/lipswap lipswap
COPY --from=build /opt/lipswap /opt/lipswap
ENV PATH=/opt/lipswap/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    HOME=/home/lipswap \
    PREFECT_HOME=/home/lipswap/.prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_EPHEMERAL_ENABLED=false \
    DO_NOT_TRACK=1 \
    LIPSWAP_API_HOST=0.0.0.0
WORKDIR /home/lipswap
USER 10001:10001
EXPOSE 8000
# Of the door; compose.yaml gives the other processes of this image their own.
HEALTHCHECK --interval=10s --timeout=6s --start-period=40s --retries=3 \
    CMD ["python", "-m", "deployments.images.healthy", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["python", "-m", "deployments.images.start"]
CMD ["python", "-m", "api_shim"]
