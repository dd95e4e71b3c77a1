# The tag is for people, the digest decides. `Image base` in deploy/README.md says how to move both. npm installs on the
# machine that builds, without emulation: no package of the image is made for one kind of processor alone.
FROM --platform=$BUILDPLATFORM node:26.11.1-slim@sha256:193fe51b64e77981119c98c2002c9e32a70e2f006fb4d25068ce0558998917f0 AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# The optional packages bring a Node; this image has its own.
# The other packages of this repository are for those who call the service.
RUN npm ci --workspaces=false --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:26.11.1-slim@sha256:193fe51b64e77981119c98c2002c9e32a70e2f006fb4d25068ce0558998917f0
# Production refuses to start without a master key, PostgreSQL and Redis, and says what is missing.
ENV NODE_ENV=production \
    LATCHKEY_LISTEN=0.0.0.0:8080 \
    LATCHKEY_OPS_LISTEN=0.0.0.0:9464 \
    LATCHKEY_DATA_DIR=/data
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY src ./src
# The viewer behind LATCHKEY_DOCS_PAGE, with its licence.
COPY third_party/swagger-ui ./third_party/swagger-ui
# The scripts of package.json load this file first.
COPY scripts/require-node-24.cjs ./scripts/
RUN install --directory --owner=node --group=node --mode=0700 /data
USER node
EXPOSE 8080 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["node", "-e", "fetch('http://127.0.0.1:9464/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--max-semi-space-size=8", "src/main.ts"]
