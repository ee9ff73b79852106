import { Gauge, Registry } from 'prom-client'
import type { SourceStatus } from '../source-status.ts'

/** The state of the sources in Prometheus's text format; a registry of its own, so that importing registers nothing. */
export async function sourceMetrics(
  sources: readonly SourceStatus[],
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
  return { text: await registry.metrics(), contentType: registry.contentType }
}
