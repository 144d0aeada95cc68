# syntax=docker/dockerfile:1
# wav2lip-serverless: the lip-sync worker for RunPod serverless. Built by `make images`.
# CUDA_BASE is nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04 pinned by digest, looked up by the one who builds
# (docs/deploy.md). MODELS bakes models in; without it they lie on a volume (LIPSWAP_WEIGHTS in deployments/lipswap.yaml).
ARG CUDA_BASE
FROM ${CUDA_BASE} AS python
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY locks/image-build.txt locks/image-wav2lip.txt locks/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --require-hashes -r locks/image-build.txt \
    && python3 -m venv /opt/lipswap \
    && /opt/lipswap/bin/pip install --no-deps --require-hashes -r locks/image-wav2lip.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY gpu_tasks gpu_tasks
COPY deployments/__init__.py deployments/
COPY deployments/images/__init__.py deployments/images/bake.py deployments/images/fit.py deployments/images/start.py deployments/images/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/lipswap/bin/pip install --no-deps --no-index --find-links /dist lipswap

FROM build AS models
ARG MODELS=""
ARG ACKNOWLEDGED_LICENCES=""
RUN MODELS="${MODELS}" LIPSWAP_WEIGHTS=/opt/weights LIPSWAP_ACKNOWLEDGED_LICENCES="${ACKNOWLEDGED_LICENCES}" \
    /opt/lipswap/bin/python -m deployments.images.bake

FROM python AS run
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="wav2lip-serverless" \
      org.opencontainers.image.description="The lip-sync worker of Lipswap" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /home/lipswap lipswap
COPY --from=build /opt/lipswap /opt/lipswap
COPY --from=models /opt/weights /opt/weights
ENV PATH=/opt/lipswap/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    HOME=/home/lipswap \
    LIPSWAP_WEIGHTS=/opt/weights \
    RUNPOD_LOG_LEVEL=INFO
WORKDIR /home/lipswap
USER 10001:10001
# RunPod asks the same checks through its SDK before the first job; this one is for other hosts.
HEALTHCHECK --interval=5m --timeout=60s --start-period=2m --retries=2 \
    CMD ["python", "-m", "deployments.images.fit"]
ENTRYPOINT ["python", "-m", "deployments.images.start"]
CMD ["python", "-m", "gpu_tasks.wav2lip.worker"]
