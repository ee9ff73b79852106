import { Gauge, Registry } from 'prom-client'
import type { LatestResync } from '../../db/resync-lists.ts'
import type { SourceStatus } from '../source-status.ts'

/** The state of the sources and of the latest resync of each and of each mode, in Prometheus's text format; a registry of its own, so that importing registers nothing. */
export async function sourceMetrics(
  sources: readonly SourceStatus[],
  resyncs: readonly LatestResync[],
): Promise<{ text: string; contentType: string }> {
  const registry = new Registry()
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    new Gauge({ name: `entra_group_sync_${name}`, help, labelNames, registers: [registry] })
  const inUse = gauge('credential_in_use', '1 for the credential that Entra took last', [
    'source',
    'credential',
  ])
  const refused = gauge('credential_refused', '1 for a credential that Entra refuses', [
    'source',
    'credential',
  ])
  const ends = gauge('credential_expires_timestamp_seconds', 'When a credential ends, where known', [
    'source',
    'credential',
  ])
  const syncs = gauge('source_group_sync', '1 where the groups of a source are synced', ['source'])
  const people = gauge('source_people', 'People with tokens of a source', ['source', 'tenant'])
  const unnamed = gauge('source_people_without_group_scope', 'Of those, whose tokens read no groups', [
    'source',
    'tenant',
  ])
  for (const { slug: source, groupSync, credentials, tenants } of sources) {
    syncs.set({ source }, groupSync ? 1 : 0)
    for (const { credential, inUse: used, refusedWith, expiresAt } of credentials) {
      inUse.set({ source, credential }, used ? 1 : 0)
      refused.set({ source, credential }, refusedWith === null ? 0 : 1)
      if (expiresAt !== null) ends.set({ source, credential }, Date.parse(expiresAt) / 1000)
    }
    for (const { tenantId: tenant, people: count, withoutGroupScope } of tenants) {
      people.set({ source, tenant }, count)
      unnamed.set({ source, tenant }, withoutGroupScope)
    }
  }
  const running = gauge('resync_running', '1 while a resync of this mode goes on', ['source', 'mode'])
  const counts = gauge('resync_people', 'People of the latest resync, by what came of them', [
    'source',
    'mode',
    'outcome',
  ])
  const ended = gauge('resync_done_timestamp_seconds', 'When the latest one that was done ended', [
    'source',
    'mode',
  ])
  for (const resync of resyncs) {
    const { source, mode, state, due, done, changed, held, failed, denied, needsLogin, doneAt } = resync
    if (doneAt !== null) ended.set({ source, mode }, Date.parse(doneAt) / 1000)
    running.set({ source, mode }, state === 'running' ? 1 : 0)
    const outcomes = { due, done, changed, held, failed, denied, needs_login: needsLogin }
    for (const [outcome, many] of Object.entries(outcomes)) counts.set({ source, mode, outcome }, many)
  }
  return { text: await registry.metrics(), contentType: registry.contentType }
}
