# Test equipment: stands in for docker.io/library/redis where no registry can be reached. Same user, same folder,
# same programs on the PATH; Debian's build of the server.
ARG BASE=debian:bookworm-slim
FROM ${BASE}

# The user first: Debian's package would give it another number.
# hadolint ignore=DL3008
RUN groupadd --system --gid 999 redis \
    && useradd --system --gid redis --uid 999 --home-dir /data --create-home redis \
    && apt-get update \
    && apt-get install -y --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/bin/redis-server /usr/bin/redis-cli /usr/local/bin/

WORKDIR /data
USER 999:999
EXPOSE 6379
CMD ["redis-server"]
