# syntax=docker/dockerfile:1
# lipswap-ui: the page. It knows the API by its address and holds no key of the bucket. PYTHON_BASE: see api.Dockerfile.
ARG PYTHON_BASE
FROM ${PYTHON_BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY locks/image-build.txt locks/image-ui.txt locks/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --require-hashes -r locks/image-build.txt \
    && python -m venv /opt/lipswap \
    && /opt/lipswap/bin/pip install --no-deps --require-hashes -r locks/image-ui.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY gpu_tasks/__init__.py gpu_tasks/
COPY gpu_tasks/contract gpu_tasks/contract
COPY flows/__init__.py flows/request.py flows/
COPY api_shim api_shim
COPY ui_panel ui_panel
COPY deployments/__init__.py deployments/
COPY deployments/images/__init__.py deployments/images/healthy.py deployments/images/start.py deployments/images/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/lipswap/bin/pip install --no-deps --no-index --find-links /dist lipswap

FROM ${PYTHON_BASE} AS run
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lipswap-ui" \
      org.opencontainers.image.description="The page of Lipswap" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /home/lipswap lipswap
COPY --from=build /opt/lipswap /opt/lipswap
ENV PATH=/opt/lipswap/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    HOME=/home/lipswap \
    LIPSWAP_PAGE_HOST=0.0.0.0
WORKDIR /home/lipswap
USER 10001:10001
EXPOSE 7860
HEALTHCHECK --interval=10s --timeout=6s --start-period=40s --retries=3 \
    CMD ["python", "-m", "deployments.images.healthy", "http://127.0.0.1:7860/"]
ENTRYPOINT ["python", "-m", "deployments.images.start"]
CMD ["python", "-m", "ui_panel"]
