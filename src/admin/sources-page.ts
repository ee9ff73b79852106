import { html } from 'hono/html'
import { page, type Html } from '../page.ts'
import type { SourceStatus } from '../source-status.ts'

/** How each source does, for the team that owns the app registrations. */
export function sourcesPage(sources: readonly SourceStatus[]): Html {
  return page(
    'Sources',
    html`<h1>Sources</h1>
      ${sources.map((source) => sourceSection(source))}`,
  )
}

function sourceSection({
  slug,
  name,
  tenant,
  enabled,
  groupSync,
  credentials,
  tenants,
  advice,
}: SourceStatus): Html {
  const people = tenants.reduce((sum, each) => sum + each.people, 0)
  return html`<section class="card" aria-labelledby="source-${slug}">
    <h2 id="source-${slug}">${name}</h2>
    <dl>
      <dt>Slug</dt>
      <dd><code>${slug}</code></dd>
      <dt>Tenant</dt>
      <dd><code>${tenant}</code></dd>
      <dt>Sign-in</dt>
      <dd>${enabled ? 'enabled' : 'disabled'}</dd>
      <dt>Group sync</dt>
      <dd>${groupSync ? 'on' : 'off: people sign in, and their groups are left alone'}</dd>
      <dt>People with tokens</dt>
      <dd>${people.toLocaleString('en')} in ${tenants.length.toLocaleString('en')} tenants</dd>
    </dl>
    ${credentialTable(credentials)}
    ${
      advice.length === 0
        ? ''
        : html`<ul>
            ${advice.map((line) => html`<li class="warn">${line}</li>`)}
          </ul>`
    }
  </section>`
}

function credentialTable(credentials: SourceStatus['credentials']): Html {
  return html`<table>
    <caption>
      Credentials of the app
    </caption>
    <thead>
      <tr>
        <th scope="col">Name</th>
        <th scope="col">Kind</th>
        <th scope="col">In use</th>
        <th scope="col">Ends</th>
        <th scope="col">Refused</th>
      </tr>
    </thead>
    <tbody>
      ${credentials.map(
        ({ credential, kind, inUse, expiresAt, refusedWith }) =>
          html`<tr>
            <td>${credential}</td>
            <td>${kind}</td>
            <td>${inUse ? 'yes' : 'no'}</td>
            <td>${expiresAt === null ? 'not known' : expiresAt.slice(0, 10)}</td>
            <td>${refusedWith ?? 'no'}</td>
          </tr>`,
      )}
    </tbody>
  </table>`
}
