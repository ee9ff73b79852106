import { z } from 'zod'

export type JsonSchema = z.core.JSONSchema.BaseSchema

type Parameter = {
  name: string
  in: 'path' | 'query'
  required?: boolean
  description?: string | undefined
  schema: JsonSchema
}

type Content = Record<string, { schema: JsonSchema; example?: unknown }>

export type ApiAnswer = {
  description: string
  headers?: Record<string, { description: string; schema: JsonSchema }>
  content?: Content
}

export type Operation = {
  operationId: string
  summary: string
  description?: string
  /** Names of security schemes of which any is enough; `nobody`: it can be asked without as well. Empty: none is looked at. */
  security: readonly (keyof typeof securitySchemes | 'session' | 'nobody')[]
  parameters?: readonly Parameter[]
  requestBody?: { required: boolean; content: Content }
  responses: Record<number, ApiAnswer>
}

/** What is told of some routes. It stands in a file beside them and is made of the shapes that they use. */
export type ApiPaths = {
  paths: Record<string, Partial<Record<'get' | 'post', Operation>>>
  schemas?: Record<string, JsonSchema>
}

/** JSON Schema of what a shape takes, or of an answer. A format says what the pattern behind it does. */
export function schemaOf(shape: z.ZodType): JsonSchema {
  const { $schema: _, ...schema } = z.toJSONSchema(shape, {
    io: 'input',
    override: ({ jsonSchema }) => {
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern
    },
  })
  return schema
}

export const schemaRef = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` })

/** An answer in JSON; its schema is one of those that stand beside the paths. */
export const jsonAnswer = (
  description: string,
  schema: string | JsonSchema,
  example?: unknown,
): ApiAnswer => ({
  description,
  content: {
    'application/json': {
      schema: typeof schema === 'string' ? schemaRef(schema) : schema,
      ...(example === undefined ? {} : { example }),
    },
  },
})

const header = (name: string, description: string) => ({
  [name]: { description, schema: { type: 'string' as const } },
})

const challenged = (description: string, error: string): ApiAnswer => ({
  ...jsonAnswer(description, 'Error', { error }),
  headers: header('WWW-Authenticate', 'What is wrong, as RFC 6750 has it.'),
})

/** Answers that several routes give. */
export const commonAnswers = {
  unauthorized: challenged('No credentials, or none that holds.', 'unauthorized'),
  forbidden: challenged('The token is not good for this; the challenge names the scope.', 'forbidden'),
  notFound: jsonAnswer('There is no such thing.', 'Error', { error: 'not_found' }),
  invalid: jsonAnswer('Every wrong field or parameter is named.', 'InvalidRequest', {
    error: 'invalid_request',
    problems: [{ field: 'limit', message: 'must be at most 1000' }],
  }),
  tooLarge: jsonAnswer('The body is too large.', 'Error', { error: 'too_large' }),
  unavailable: {
    ...jsonAnswer('Out of reach for now; ask again.', 'Error', { error: 'unavailable' }),
    headers: header('Retry-After', 'Seconds after which to ask again.'),
  },
} satisfies Record<string, ApiAnswer>

const errorBody = z.object({
  error: z.string().describe('A code that stays.'),
  message: z.string().optional().describe('For people; it may change.'),
})

const securitySchemes = {
  apiKey: {
    type: 'http',
    scheme: 'bearer',
    description: 'One of `API_KEYS`: an application, and nobody in particular.',
  },
  localToken: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description:
      'A token that was issued here: good for its own person, or with the scope groups.read.all for everybody.',
  },
  applicationSecret: {
    type: 'http',
    scheme: 'basic',
    description: 'Id and secret of one of `APPLICATIONS`.',
  },
} as const

const openApiPaths: ApiPaths = {
  paths: {
    '/openapi.json': {
      get: {
        operationId: 'getOpenApi',
        summary: 'This document',
        security: [],
        responses: {
          200: jsonAnswer('OpenAPI 3.1.', {
            type: 'object',
            properties: {
              openapi: { type: 'string' },
              info: { type: 'object' },
              paths: { type: 'object' },
            },
            required: ['openapi', 'info', 'paths'],
            additionalProperties: true,
          }),
        },
      },
    },
  },
}

/** The document of all routes that are for programs. */
export function openApiDocument({
  publicUrl,
  sessionCookie,
  parts,
}: {
  publicUrl: string
  sessionCookie: string
  parts: readonly ApiPaths[]
}) {
  const all = [...parts, openApiPaths]
  return {
    openapi: '3.1.1',
    info: {
      title: 'entra-group-sync',
      version: '1',
      description: 'Groups of people who sign in with Entra ID, for applications.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: publicUrl }],
    paths: Object.fromEntries(
      all.flatMap(({ paths }) => Object.entries(paths).map(([path, item]) => [path, itemOf(item)])),
    ),
    components: {
      schemas: { Error: schemaOf(errorBody), ...Object.assign({}, ...all.map(({ schemas }) => schemas)) },
      securitySchemes: {
        ...securitySchemes,
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: sessionCookie,
          description: 'The browser of whoever has signed in.',
        },
      },
    },
  }
}

function itemOf(item: Partial<Record<string, Operation>>) {
  return Object.fromEntries(
    Object.entries(item).flatMap(([method, operation]) =>
      operation ? [[method, operationOf(operation)]] : [],
    ),
  )
}

function operationOf({ security, responses, ...operation }: Operation) {
  const other = jsonAnswer('Anything else.', 'Error', { error: 'internal' })
  return {
    ...operation,
    security: security.map((name) => (name === 'nobody' ? {} : { [name]: [] })),
    responses: { ...responses, default: other },
  }
}
