import path from 'node:path'
import { z } from 'zod'
import type { ConfigProblem } from './errors.ts'
import { createGroupFilter } from './reconcile/filter.ts'
import { exchangeOf } from './exchange-settings.ts'
import { resyncOf } from './resync-settings.ts'
import { clouds, sourcesProblems, type Credential, type SourceConfig } from './source-config.ts'
import { tenantSizes } from './source-settings.ts'
import { clashes, type EntryProblem } from './sources-clashes.ts'
import { pathWords, problemsOf, wordsOf } from './sources-problems.ts'
import {
  maxSources,
  sourceEntry,
  sourcesFile,
  type SourceEntry,
  type ToldCredential,
} from './sources-schema.ts'
import { createValueReaders, type ValueParts } from './sources-values.ts'
import { parseYaml } from './yaml-lines.ts'

export type SourcesFileParts = Omit<ValueParts, 'folder'> & {
  /** What a source's own limits leave out. */
  defaults: Pick<SourceConfig, 'guard' | 'resyncGuard'>
}

/** Bytes. */
const maxFileSize = 1024 * 1024

/**
 * The sources of a file in YAML or JSON, and everything that is wrong with them at once: what single sources have, and
 * among those that have nothing, what goes not together. A problem tells line and path, and never a value.
 */
export function parseSourcesFile(
  file: { path: string; text: string },
  parts: SourcesFileParts,
): { sources: SourceConfig[]; problems: ConfigProblem[] } {
  const told: { line: number; message: string }[] = []
  const answer = (sources: SourceConfig[] = []) => ({
    sources: told.length > 0 ? [] : sources,
    problems: told
      .toSorted((one, other) => one.line - other.line)
      .map(({ line, message }) => ({ setting: 'SOURCES_FILE', message: `${file.path}:${line}: ${message}` })),
  })
  if (Buffer.byteLength(file.text) > maxFileSize) {
    told.push({ line: 1, message: 'the file has more than 1 MiB' })
    return answer()
  }
  const yaml = parseYaml(file.text)
  if (yaml.problems.length > 0) {
    told.push(...yaml.problems.map(({ line, message }) => ({ line, message: `the file ${message}` })))
    if (yaml.value === undefined) return answer()
  }
  if (yaml.value === null) {
    told.push({ line: 1, message: 'the file is empty' })
    return answer()
  }
  const tell = (problems: readonly EntryProblem[]) => {
    for (const { path: at, message, key } of problems)
      told.push({ line: yaml.lineOf(at, key ? 'key' : 'value'), message: `${pathWords(at)} ${message}` })
  }
  const outer = sourcesFile.safeParse(yaml.value, { error: wordsOf })
  if (!outer.success) tell(problemsOf(outer.error.issues, [], yaml.value))
  const entries = z.object({ sources: z.array(z.unknown()) }).safeParse(yaml.value).data?.sources ?? []
  const shape = sourceEntry(createValueReaders({ ...parts, folder: path.dirname(file.path) }))
  const good = entries.slice(0, maxSources).flatMap((entry, index) => {
    const at = ['sources', index]
    const parsed = shape.safeParse(entry, { error: wordsOf })
    const problems = [
      ...(parsed.success ? [] : problemsOf(parsed.error.issues, at, yaml.value)),
      ...clashes(entry).map((clash) => ({ ...clash, path: [...at, ...clash.path] })),
    ]
    tell(problems)
    if (!parsed.success || problems.length > 0) return []
    return [{ at, source: sourceOf(parsed.data, parts.defaults) }]
  })
  const sources = good.map(({ source }) => source)
  for (const [index, { at }] of good.entries()) {
    // Two may have one slug, so whose a problem is shows only in when it comes up.
    const before = sourcesProblems(sources.slice(0, index)).length
    const added = sourcesProblems(sources.slice(0, index + 1)).slice(before)
    tell(added.map(({ message }) => ({ path: at, message })))
  }
  return answer(sources)
}

function sourceOf(entry: SourceEntry, defaults: SourcesFileParts['defaults']): SourceConfig {
  const { tenant, allowedTenants, signUp, filters } = entry
  const cloud = clouds[entry.cloud]
  return Object.freeze<SourceConfig>({
    slug: entry.slug,
    name: entry.name,
    icon: entry.icon,
    enabled: entry.enabled,
    promoted: entry.promoted,
    tenant:
      tenant === 'organizations' || tenant === 'common'
        ? { kind: tenant, allowed: allowedTenants ?? [] }
        : { kind: 'single', id: tenant },
    clientId: entry.clientId,
    credentials: credentialsOf(entry.credentials),
    scopes: entry.scopes,
    groupSync: entry.groupSync,
    authorityHost: entry.authorityHost ?? cloud.authorityHost,
    graphBaseUrl: entry.graphBaseUrl ?? cloud.graphBaseUrl,
    groupRead: entry.groupRead,
    groupFilter: createGroupFilter({ ...filters, securityEnabled: filters.securityEnabled || undefined }),
    guard: limitsOf(entry.guard, defaults.guard),
    resyncGuard: limitsOf(entry.resyncGuard, defaults.resyncGuard),
    unitsPer10s: entry.graphUnitsPer10s ?? tenantSizes[entry.tenantSize],
    signUp:
      signUp.policy === 'members'
        ? { policy: 'members', groupIds: signUp.groups ?? [] }
        : { policy: signUp.policy },
    resync: resyncOf(entry.resync, { singleTenant: tenant !== 'organizations' && tenant !== 'common' }),
    exchange: exchangeOf(entry.exchange),
  })
}

function limitsOf(
  { minRemovals, maxShare }: SourceEntry['guard'],
  defaults: SourceConfig['guard'],
): SourceConfig['guard'] {
  return Object.freeze({
    minRemovals: minRemovals ?? defaults.minRemovals,
    maxShare: maxShare === undefined ? defaults.maxShare : maxShare / 100,
  })
}

const preference: readonly Credential['kind'][] = ['federated', 'certificate', 'secret']

/** In the order they are preferred in; those of one kind as they stand in the file. No two have one id. */
function credentialsOf(told: readonly ToldCredential[]): Credential[] {
  const taken = new Set(told.map(({ id }) => id))
  return told
    .toSorted(
      (one, other) => preference.indexOf(one.credential.kind) - preference.indexOf(other.credential.kind),
    )
    .map(({ id, credential }) => {
      if (id !== undefined) return { ...credential, id }
      let free = credential.id
      for (let count = 2; taken.has(free); count += 1) free = `${credential.id} ${count}`
      taken.add(free)
      return { ...credential, id: free }
    })
}
