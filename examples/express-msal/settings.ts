import { z } from 'zod'

const filled = z.string().min(1)

const environment = z.object({
  APP_URL: z.url().default('http://localhost:3001'),
  PORT: z.coerce.number().int().default(3001),
  ENTRA_TENANT_ID: z.guid(),
  ENTRA_CLIENT_ID: z.guid(),
  ENTRA_CLIENT_SECRET: filled,
  ENTRA_AUTHORITY_HOST: z.url({ protocol: /^https$/ }).default('https://login.microsoftonline.com'),
  DATABASE_URL: filled,
  QUEUE_URL: filled.optional(),
  TOKEN_ENCRYPTION_KEYS: filled,
})

export type Settings = {
  /** Where browsers find this application, without a slash at the end. */
  appUrl: string
  port: number
  tenantId: string
  clientId: string
  clientSecret: string
  /** `https://login.microsoftonline.com/<tenant>`, without a slash at the end. */
  authority: string
  /** Those of entra-group-sync: its database, its queue and its TOKEN_ENCRYPTION_KEYS. */
  groupSync: { databaseUrl: string; queueUrl: string; tokenKeys: string }
}

/** @throws an error that names every setting that is missing or wrong, and no value. */
export function readSettings(given: NodeJS.ProcessEnv): Settings {
  const parsed = environment.safeParse(given)
  if (!parsed.success) {
    const names = new Set(parsed.error.issues.map(({ path }) => path.join('.')))
    throw new Error(`missing or wrong in the environment: ${[...names].join(', ')}`)
  }
  const { data } = parsed
  const tenantId = data.ENTRA_TENANT_ID.toLowerCase()
  return {
    appUrl: data.APP_URL.replace(/\/+$/, ''),
    port: data.PORT,
    tenantId,
    clientId: data.ENTRA_CLIENT_ID.toLowerCase(),
    clientSecret: data.ENTRA_CLIENT_SECRET,
    authority: `${data.ENTRA_AUTHORITY_HOST.replace(/\/+$/, '')}/${tenantId}`,
    groupSync: {
      databaseUrl: data.DATABASE_URL,
      queueUrl: data.QUEUE_URL ?? data.DATABASE_URL,
      tokenKeys: data.TOKEN_ENCRYPTION_KEYS,
    },
  }
}
