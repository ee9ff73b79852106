import type { Database } from '../../db/client.ts'
import { testGateway } from './gateway.ts'

export const apiKey = 'a-key-of-an-application-1'

export type Answer = {
  status: number
  headers: Headers
  text: string
  /** Undefined where there is none. */
  body: unknown
  /** Names of what a 400 finds wrong, sorted. */
  fields: string[] | undefined
}

/** The gateway, asked as an application asks; with its API key unless told otherwise. */
export function openApp(db: Database, parts: Partial<Parameters<typeof testGateway>[0]> = {}) {
  const { app, logLines } = testGateway({ db, ...parts })
  const ask = async (path: string, init: RequestInit = {}): Promise<Answer> => {
    const headers = { Authorization: `Bearer ${apiKey}`, ...(init.headers as Record<string, string>) }
    const answer = await app.request(path, { ...init, headers })
    const text = await answer.text()
    const body: unknown = text === '' ? undefined : JSON.parse(text)
    return { status: answer.status, headers: answer.headers, text, body, fields: fieldsOf(body) }
  }
  const get = async (path: string, headers: Record<string, string> = {}) => await ask(path, { headers })
  return { app, ask, get, logLines }
}

function fieldsOf(body: unknown): string[] | undefined {
  const { problems } = Object(body) as { problems?: { field: string }[] }
  return problems?.map(({ field }) => field).toSorted()
}
