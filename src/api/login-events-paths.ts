import type { z } from 'zod'
import { commonAnswers, jsonAnswer, schemaOf, schemaRef, type ApiPaths, type JsonSchema } from '../openapi.ts'
import { runReported, stored, waitOptions } from './login-events.ts'
import { invalidRequest } from './problems.ts'

const eventId = '5d0f8f0e-3f5e-4f0c-9a8e-2b1c6d7e8f03'
const runId = '0b9a7c5d-1e2f-4a3b-8c4d-5e6f7a8b9c04'

/** @param user - shape of the body, without what it shares with others. */
export function loginEventsPaths(user: z.ZodType): ApiPaths {
  return {
    schemas: {
      LoginEvent: merged(schemaOf(user), schemaOf(waitOptions)),
      LoginEventStored: schemaOf(stored),
      RunReported: schemaOf(runReported),
      InvalidRequest: schemaOf(invalidRequest),
    },
    paths: {
      '/v1/login-events': {
        post: {
          operationId: 'reportLoginEvent',
          summary: 'Report that somebody has signed in',
          security: ['apiKey'],
          requestBody: {
            required: true,
            content: { 'application/json': { schema: schemaRef('LoginEvent'), example } },
          },
          responses: {
            200: jsonAnswer('With `waitUpToMs`: how the run ended, or `pending`.', 'RunReported', {
              eventId,
              outcome: 'applied',
              runId,
            }),
            202: jsonAnswer('Stored; the run follows.', 'LoginEventStored', { eventId }),
            400: commonAnswers.invalid,
            401: commonAnswers.unauthorized,
            413: commonAnswers.tooLarge,
            415: jsonAnswer('Not JSON.', 'Error', { error: 'unsupported_media_type' }),
            503: commonAnswers.unavailable,
          },
        },
      },
    },
  }
}

const example = {
  tenantId: '11111111-1111-4111-8111-111111111111',
  objectId: '22222222-2222-4222-8222-222222222222',
  userPrincipalName: 'ada@example.com',
  tokens: {
    accessToken: 'ACCESS_TOKEN',
    refreshToken: 'REFRESH_TOKEN',
    expiresAt: '2030-01-01T12:00:00Z',
    scopes: ['User.Read', 'GroupMember.Read.All'],
  },
  waitUpToMs: 2000,
}

function merged(one: JsonSchema, other: JsonSchema): JsonSchema {
  return { ...one, properties: { ...one.properties, ...other.properties } }
}
