import {
  commonAnswers,
  jsonAnswer,
  schemaOf,
  type ApiAnswer,
  type ApiPaths,
  type Operation,
} from '../openapi.ts'
import { idPattern, listQuery } from './groups-query.ts'
import { groupMembers, userGroups } from './groups-shapes.ts'

const ada = {
  id: '6f1d3b52-0c53-4a39-9d6c-1f0a3f6f4a01',
  tenantId: '11111111-1111-4111-8111-111111111111',
  objectId: '22222222-2222-4222-8222-222222222222',
  displayName: 'Ada Lovelace',
  userPrincipalName: 'ada@example.com',
}
const engine = {
  id: '8a7e9e1c-7a0e-4a54-8f9b-5d9f0a6c2b02',
  tenantId: ada.tenantId,
  objectId: '33333333-3333-4333-8333-333333333333',
  displayName: 'Engine',
}
const held = { origins: ['entra'], since: '2026-05-01T08:00:00.123456Z' }
const standing = { kind: 'person', enabled: true, frozen: false }
const freshness = { syncedAt: '2026-05-02T03:00:00.654321Z', state: 'synced' }

const query = Object.entries(listQuery.shape).map(([name, shape]) => ({
  name,
  in: 'query' as const,
  description: shape.description,
  schema: schemaOf(shape),
}))

const text = { schema: { type: 'string' as const } }
const tag = { ETag: { description: 'Strong tag of the content, for `If-None-Match`.', ...text } }

function list(
  told: Pick<Operation, 'operationId' | 'summary' | 'description'> & {
    idDescription: string
    pattern: string
  },
  answer: ApiAnswer,
): Operation {
  const { idDescription, pattern, ...operation } = told
  const id = { name: 'id', in: 'path' as const, required: true, description: idDescription }
  return {
    ...operation,
    security: ['apiKey', 'localToken'],
    parameters: [{ ...id, schema: { type: 'string', pattern: `^(?:${pattern})$` } }, ...query],
    responses: {
      200: {
        ...answer,
        headers: { ...tag, Link: { description: 'The next page, with `rel="next"`.', ...text } },
      },
      304: { description: 'Who asks has the current answer already.', headers: tag },
      400: commonAnswers.invalid,
      401: commonAnswers.unauthorized,
      403: commonAnswers.forbidden,
      404: commonAnswers.notFound,
      503: commonAnswers.unavailable,
    },
  }
}

const idDescription = 'Our id, or `<object id>.<tenant id>` of Entra, which MSAL calls homeAccountId.'

export const groupsPaths: ApiPaths = {
  schemas: { UserGroups: schemaOf(userGroups), GroupMembers: schemaOf(groupMembers) },
  paths: {
    '/v1/users/{id}/groups': {
      get: list(
        {
          operationId: 'listGroupsOfUser',
          summary: 'The groups of a person or a service, now or at any moment before',
          description: 'Authorise by object id: names are labels, which may repeat and change.',
          idDescription: `${idDescription} Or \`me\`: whom the token belongs to.`,
          pattern: `me|${idPattern}`,
        },
        jsonAnswer('A page of groups.', 'UserGroups', {
          user: { ...ada, mail: null, ...standing },
          asOf: null,
          freshness,
          groups: [{ ...engine, ...held }],
          next: null,
        }),
      ),
    },
    '/v1/groups/{id}/members': {
      get: list(
        {
          operationId: 'listMembersOfGroup',
          summary: 'The members of a group, now or at any moment before',
          description:
            'Known are people who have signed in and services that have exchanged a token, and nobody else.',
          idDescription,
          pattern: idPattern,
        },
        jsonAnswer('A page of members.', 'GroupMembers', {
          group: { ...engine, deletedAt: null },
          asOf: null,
          members: [{ ...ada, ...held, ...standing }],
          next: null,
        }),
      ),
    },
  },
}
