import { z } from 'zod'
import { commonAnswers, jsonAnswer, schemaOf, schemaRef, type ApiPaths, type Operation } from '../openapi.ts'
import { notificationItem } from './notifications.ts'

const parameters = [
  {
    name: 'source',
    in: 'path' as const,
    required: true,
    description: 'Slug of the source.',
    schema: { type: 'string' as const },
  },
  {
    name: 'validationToken',
    in: 'query' as const,
    description: 'Given back as text: so Graph makes sure of the address.',
    schema: { type: 'string' as const, maxLength: 2048 },
  },
]

const example = {
  value: [
    {
      subscriptionId: '44444444-4444-4444-8444-444444444444',
      tenantId: '11111111-1111-4111-8111-111111111111',
      clientState: 'CLIENT_STATE',
    },
  ],
}

const operation = (operationId: string, summary: string): Operation => ({
  operationId,
  summary,
  description:
    'For Microsoft Graph. Each notification proves itself with the secret of its subscription; others are ignored.',
  security: [],
  parameters,
  requestBody: {
    required: false,
    content: { 'application/json': { schema: schemaRef('Notifications'), example } },
  },
  responses: {
    200: {
      description: 'The validation token.',
      content: { 'text/plain': { schema: { type: 'string' } } },
    },
    202: { description: 'Noted, or ignored.' },
    400: jsonAnswer('No collection of notifications.', 'Error', { error: 'invalid_request' }),
    413: commonAnswers.tooLarge,
    503: commonAnswers.unavailable,
  },
})

export const notificationsPaths: ApiPaths = {
  schemas: { Notifications: schemaOf(z.object({ value: z.array(notificationItem) })) },
  paths: {
    '/v1/notifications/{source}': { post: operation('notify', 'Graph tells that something has changed') },
    '/v1/notifications/{source}/lifecycle': {
      post: operation('notifyLifecycle', 'Graph tells of the subscription itself'),
    },
  },
}
