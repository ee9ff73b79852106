import { z } from 'zod'
import type { DirectoryObject } from '../directory/objects.ts'
import { findContainer, findMember } from '../directory/store.ts'
import { mayReadProperties, requirePermission } from './access.ts'
import type { GraphCall, GraphReply } from './call.ts'
import { badRequest } from './errors.ts'
import { parseBody } from './member-actions.ts'
import { readJson } from './member-of.ts'
import { contextUrl, objectWriter } from './rendering.ts'

const maxIds = 1000
const body = z.object({ ids: z.array(z.string()), types: z.array(z.string()).optional() })

/** `directoryObjects/getByIds`: what is known of these ids; the others are left out (Graph docs: directoryobject-getbyids). */
export function answerGetByIds(call: GraphCall): GraphReply {
  requirePermission(call.access, 'getByIds')
  const { ids, types } = parseBody(body, readJson(call))
  if (ids.length > maxIds) throw badRequest(`The number of ids must not exceed ${maxIds}.`)
  const wanted = types?.map((type) => `#microsoft.graph.${type}`.toLowerCase())
  const all = wanted === undefined || wanted.includes('#microsoft.graph.directoryobject')
  const write = objectWriter({ select: call.options.select, typed: true })
  const { directory } = call.tenant
  const values = [...new Set(ids.map((id) => id.toLowerCase()))].flatMap((id) => {
    const object: DirectoryObject | undefined = findMember(directory, id) ?? findContainer(directory, id)
    if (!object || !(all || wanted.includes(object['@odata.type'].toLowerCase()))) return []
    return write(object, !mayReadProperties(call.access, object))
  })
  const context = JSON.stringify(contextUrl(call.baseUrl, 'directoryObjects', call.options.select))
  return { status: 200, type: 'json', body: `{"@odata.context":${context},"value":[${values.join(',')}]}` }
}
