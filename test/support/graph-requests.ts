import { expect } from 'vitest'
import type { z } from 'zod'
import { errorBody } from './graph-answers.ts'

/** A Graph, and a user of it with their token. */
export type Target = { graphUrl: string; token: string; objectId: string; userPrincipalName: string }

export type Asked = { headers?: Record<string, string>; body?: unknown }

export const select = '$select=id,displayName,mail,mailEnabled,securityEnabled,groupTypes'
export const cast = '/me/transitiveMemberOf/microsoft.graph.group'
export const eventual = { ConsistencyLevel: 'eventual' }

/** Sends a GET, or a POST where there is a body, to a path of v1.0 or to a whole address such as a next link. */
export async function ask(target: Target, path: string, { headers = {}, body }: Asked = {}) {
  const url = path.startsWith('http') ? path : `${target.graphUrl}/v1.0${path}`
  const answer = await fetch(url, {
    headers: { authorization: `Bearer ${target.token}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const json: unknown = answer.headers.get('content-type')?.startsWith('application/json')
    ? JSON.parse(text)
    : undefined
  return { status: answer.status, headers: answer.headers, text, json }
}

/** Asks for what will be refused, in a body as Graph's errors have it. */
export async function refusal(target: Target, path: string, asked: Asked = {}) {
  const { status, json } = await ask(target, path, asked)
  const { code, message } = errorBody.parse(json).error
  return { status, code, message }
}

/** Follows next links to the last page; each page is a 200 of the shape given. */
export async function walk<Page extends { '@odata.nextLink'?: string | undefined }>(
  target: Target,
  path: string,
  page: z.ZodType<Page>,
): Promise<Page[]> {
  const pages: Page[] = []
  for (let next: string | undefined = path; next !== undefined; next = pages.at(-1)?.['@odata.nextLink']) {
    const { status, json } = await ask(target, next, { headers: eventual })
    expect(status).toBe(200)
    pages.push(page.parse(json))
  }
  return pages
}
