# The Node of package.json's dev dependency; test/compose.test.ts holds the two together.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No install script is needed to compile; the one of the package "node" would fetch a second Node.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY workers workers
COPY db db
RUN npm run build

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# pg comes along as an optional peer of BullMQ. The image must have it, or QUEUE_URL could only be a Redis.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force && node -e "require.resolve('pg')"

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
USER node
EXPOSE 3000
# Exec form: node is process 1 and gets the signals, on which gateway and worker stop in order.
ENTRYPOINT ["node", "dist/src/cli.js"]
CMD ["--help"]
