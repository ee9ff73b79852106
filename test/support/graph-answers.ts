import { z } from 'zod'

const guid = z.guid()

export const errorBody = z.object({
  error: z.object({
    code: z.string().min(1),
    message: z.string(),
    innerError: z.looseObject({ date: z.string(), 'request-id': guid, 'client-request-id': guid }),
  }),
})

/** Groups with whatever properties were selected. */
export const groupPage = z.looseObject({
  '@odata.nextLink': z.string().optional(),
  value: z.array(z.looseObject({ id: guid })),
})

/** What an uncast read answers. */
export const objectPage = z.object({
  '@odata.context': z.string(),
  '@odata.nextLink': z.url().optional(),
  value: z.array(
    z.looseObject({
      '@odata.type': z.enum([
        '#microsoft.graph.group',
        '#microsoft.graph.directoryRole',
        '#microsoft.graph.administrativeUnit',
      ]),
      id: guid,
      displayName: z.string().nullable(),
    }),
  ),
})

export const batchAnswer = z.strictObject({
  responses: z.array(
    z.object({
      id: z.string(),
      status: z.int(),
      headers: z.record(z.string(), z.string()),
      body: z.unknown().optional(),
    }),
  ),
})
