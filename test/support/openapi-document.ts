import { Ajv2020, type AnySchema } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

export type Schema = { $ref?: string; properties?: Record<string, Schema>; [keyword: string]: unknown }
type Media = { schema: Schema; example?: unknown }
type Operation = {
  operationId: string
  security: Record<string, string[]>[]
  parameters?: { name: string; in: string; schema: Schema }[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { headers?: Record<string, unknown>; content?: Record<string, Media> }>
}
export type Document = {
  openapi: string
  servers: { url: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema>; securitySchemes: Record<string, { name?: string }> }
}

/** Every object of a schema takes what it names and nothing else: what isn't documented is found. */
function strict(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strict)
  if (typeof value !== 'object' || value === null) return value
  const made = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, strict(one)]))
  const isObject = made.type === 'object' && made.properties !== undefined
  return isObject ? { additionalProperties: false, ...made } : made
}

/** What a schema of the document finds wrong with a value; null: nothing. */
export function wrongIn(document: Document, schema: Schema, value: unknown): unknown {
  const ajv = new Ajv2020({ strict: true, allErrors: true, strictTypes: false, allowUnionTypes: true })
  addFormats.default(ajv)
  ajv.addKeyword('components')
  const whole = { components: strict(document.components), ...(strict(schema) as object) }
  const check = ajv.compile(whole as AnySchema)
  return check(value) === true ? null : check.errors
}
