import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: ['./db/schema.ts', './db/schema-sign-in.ts', './db/schema-resync.ts', './db/schema-issuer.ts'],
  out: './db/migrations',
})
